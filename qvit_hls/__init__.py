"""qvit-hls: quantized Vision Transformers to FPGA accelerators, bit-exact on the way."""

__version__ = "0.1.0"
