"""conjoin: measures. Right answers, rankings, retrieval scores and their intervals."""
