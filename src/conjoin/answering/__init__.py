"""Questions put to documents: reading, evidence, quoted or written answers, support, refusal."""
