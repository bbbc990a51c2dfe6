"""Number grids, fake quantization, quantized modules, and the choice of steps and 8-bit rows."""
