"""Quantization-aware training: data augmentation and the training loop."""
