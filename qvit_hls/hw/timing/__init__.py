"""How many cycles a frame takes: a cycle model for search, and a simulation of the same schedule."""
