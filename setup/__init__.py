"""Getting what the project cannot ship: FLAME's conversion, and the builders of the open head and of model files."""
