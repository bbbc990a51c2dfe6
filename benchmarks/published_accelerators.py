"""Accelerators for Vision Transformers on the ZCU102, as reported by their authors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Reported:
    """One published result. Nothing of it was measured here; ``derived`` numbers are arithmetic on it.

    Attributes:
        shape: the preset of the same shape, or None.
        clock_mhz: None where it is not reported.
        lut, dsp, bram36: None where they are not reported.
    """

    work: str
    model: str
    shape: str | None
    precision: str
    clock_mhz: float | None
    fps: float
    lut: float | None = None
    dsp: int | None = None
    bram36: int | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """With the cycles per frame that clock and frames per second mean."""
        cycles = None if self.clock_mhz is None else round(self.clock_mhz * 1e6 / self.fps)
        return {**asdict(self), "origin": "reported", "derived_cycles_per_frame": cycles}


REPORTED = (
    Reported("HG-PIPE, 2407.17879", "DeiT-T", "deit_tiny", "W4A4", 375, 1579, 213e3, 78, None,
             "network in four parts, not one bitstream"),
    Reported("Huang et al., TCAS-I 2023", "ViT-T", "deit_tiny", "INT8", 300, 245.3, 144.5e3, 1268, 648),
    Reported("Huang et al., TCAS-I 2023", "ViT-S", "deit_small", "INT8", 300, 89.7, 144.5e3, 1268, 648),
    Reported("Auto-ViT-Acc, FPL 2022", "DeiT-S", "deit_small", "W8A8", 150, 99.7, 185.0e3, 1552, None,
             "not end to end"),
    Reported("Auto-ViT-Acc, FPL 2022", "DeiT-B", "deit_base", "W8A8", 150, 34.0, 185.0e3, 1552, None,
             "not end to end"),
    Reported("VAQF, 2022", "DeiT-B", "deit_base", "W1A8", None, 24),
    Reported("VAQF, 2022", "DeiT-B", "deit_base", "W1A6", None, 30),
    Reported("Quasar-ViT, 2407.18175", "searched, 74.9 % top-1", None, "W4/8 A6", 150, 251.6,
             note="LayerNorm, GELU, softmax on the processor; clock about 150 MHz"),
    Reported("CoQMoE, 2025", "M3ViT-T", None, "INT8", 300, 155, 156.1e3, 1754, 383, "4-bit attention"),
    Reported("HPTA", "Swin-T", None, "INT8", 200, 148.8, 209.9e3, 2307, 345),
)  # fmt: skip
