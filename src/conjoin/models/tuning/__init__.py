"""A copy of an encoder tuned on labels or pairs, and mixed with what it was."""
