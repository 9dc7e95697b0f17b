"""Motion out: writers for the formats of other tools. Arrays in, files out; nothing here needs torch."""
