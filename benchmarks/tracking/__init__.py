"""What the video tracker finds and misses."""
