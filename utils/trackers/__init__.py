"""Layer 0: what face trackers write, read without trust. Start at `to_motion.from_content`."""
