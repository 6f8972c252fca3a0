"""How far a prediction can be trusted: reliability, prediction sets, out-of-distribution scores, drift."""
