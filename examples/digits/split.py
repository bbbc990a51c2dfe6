"""Write the images that the pipeline trains and searches on: train.npz and validation.npz.

    python examples/digits/split.py [-o FOLDER]

They are the 1437 training images of train.py, in a fixed split; none of them is in test.npz. Each file has
``images``, float32 ``[n, 1, 8, 8]`` and normalised, and ``labels``, int64 ``[n]``.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from sklearn.model_selection import train_test_split
from train import SPLIT_SEED, load_split

VALIDATION_IMAGES = 360


@click.command(help=__doc__)
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), default=Path(__file__).parent,
              help="Folder for the two files.  [default: this example's folder]")  # fmt: skip
def main(out: Path) -> None:
    images, _ = load_split()
    parts = train_test_split(
        np.arange(len(images.labels)),
        test_size=VALIDATION_IMAGES,
        stratify=images.labels,
        random_state=SPLIT_SEED,
    )
    out.mkdir(parents=True, exist_ok=True)
    for name, part in zip(("train", "validation"), parts, strict=True):
        np.savez_compressed(out / f"{name}.npz", images=images.images[part], labels=images.labels[part])


if __name__ == "__main__":
    main()
