"""Training clips from recordings of people: `plan` says which recordings form a clip, `clips` makes it."""
