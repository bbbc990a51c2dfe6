"""Vision Transformers made of quantized modules, their configurations, and the model file."""
