"""Small programs that show what the exports are good for."""
