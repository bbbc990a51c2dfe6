"""Observations on disk, for calibrations that were stopped, and not to repeat those that were complete."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from qvit_hls.ir.file_format import graph_files, write_file
from qvit_hls.ir.graph import Graph
from qvit_hls.ptq.observations import Observations, sampled_values
from qvit_hls.ptq.placement import Placement

VERSION = 1
_PARTS = ("largest", "samples", "moments", "sums", "tokens", "sensitivity")
#: Settings that change when the cache is written, and not what is in it.
_INCIDENTAL = ("save_seconds",)


def calibration_key(graph: Graph, placement: Placement, images: Tensor, settings: Any) -> str:
    """SHA-256, hexadecimal, of everything that observations depend on.

    Args:
        graph: float.
        placement: of its grids; says which values are sampled.
        images: ``[n, ...]``.
        settings: the dataclass ``CalibrationSettings``.
    """
    digest = hashlib.sha256()
    for name, data in sorted(graph_files(graph).items()):
        digest.update(f"{name}:{len(data)}:".encode() + data)
    plain = {name: value for name, value in asdict(settings).items() if name not in _INCIDENTAL}
    sampled = list(sampled_values(placement))
    digest.update(json.dumps([VERSION, plain, sampled, list(images.shape), str(images.dtype)]).encode())
    digest.update(images.contiguous().numpy().tobytes())
    return digest.hexdigest()


class CalibrationCache:
    """One file of observations: safetensors, with JSON in its header.

    Args:
        folder: created when the first file is written.
        key: what the observations are of.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"calibration-{key[:16]}.safetensors"
        self._key = key

    def load(self) -> Observations:
        """What was saved last; no observations where there is no such file, or a damaged or other one."""
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("calibration", "{}"))
                if header.get("key") != self._key:
                    return Observations()
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        except (OSError, ValueError, safetensors.SafetensorError):
            return Observations()
        found = Observations(int(header["images"]))
        for key, tensor in tensors.items():
            part, _, value = key.partition("/")
            getattr(found, part)[value] = tensor
        return found

    def save(self, seen: Observations) -> None:
        """Write ``seen``; the file is the old one or the whole new one at any time.

        Raises:
            OSError: it cannot be written.
        """
        tensors = {
            f"{part}/{name}": tensor.contiguous()
            for part in _PARTS
            for name, tensor in getattr(seen, part).items()
        }
        header = {"calibration": json.dumps({"key": self._key, "images": seen.images})}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_file(self.path, safetensors.torch.save(tensors, metadata=header))
