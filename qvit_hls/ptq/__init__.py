"""Post-training quantization: from a float graph and a few images to a graph on the accelerator's grids."""
