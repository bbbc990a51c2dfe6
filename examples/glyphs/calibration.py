"""Images as a network of timm takes them, from what render.py wrote.

    python examples/glyphs/calibration.py [build/glyphs]

Writes ``calibration.npz``, 64 training images, and ``labelled.npz``, test images with labels: float32
``[n, 1, 64, 64]`` from -1 to 1.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

CALIBRATION_IMAGES = 64


def normalised(pixels: np.ndarray) -> np.ndarray:
    """Pixels uint8 ``[n, 64, 64]`` as the network takes them."""
    return (pixels[:, None].astype(np.float32) / 255 - 0.5) / 0.5


@click.command(help=__doc__)
@click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), default=Path("build/glyphs")
)
def main(folder: Path) -> None:
    with np.load(folder / "train.npz", allow_pickle=False) as file:
        np.savez(folder / "calibration.npz", images=normalised(file["images"][:CALIBRATION_IMAGES]))
    with np.load(folder / "test.npz", allow_pickle=False) as file:
        np.savez(folder / "labelled.npz", images=normalised(file["images"]), labels=file["labels"])


if __name__ == "__main__":
    main()
