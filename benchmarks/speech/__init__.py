"""Does the mouth do what the words need? Recordings and synthetic speech."""
