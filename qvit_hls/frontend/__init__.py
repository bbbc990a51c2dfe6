"""From PyTorch to the IR: torch.export, translated operator by operator."""
