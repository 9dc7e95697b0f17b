"""Against real people, and learning one new person."""
