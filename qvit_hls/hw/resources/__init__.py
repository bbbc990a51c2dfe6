"""What an accelerator takes of a device: LUTs, registers, DSP slices, block RAMs."""
