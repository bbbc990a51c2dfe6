"""Design-space exploration: the accelerators that a board could hold for a model, and the best of them."""
