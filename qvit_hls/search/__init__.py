"""The search of a supernet's networks: which are the most accurate at a frame rate, on which accelerator."""
