"""The command line: the verbs, and what they share; nothing imports it."""
