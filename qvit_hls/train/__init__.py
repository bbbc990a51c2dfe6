"""Training of networks and supernets: data, objectives, and one engine with checkpoints."""
