"""Layer 1: the head model, the two networks, diffusion, guidance, sampling and losses."""
