"""How fast, and against what the machine could do."""
