"""Render the glyphs: 64 x 64 grey pictures of 67 characters, the same on every machine with the same fonts.

    python examples/glyphs/render.py [-o build/glyphs]

Writes ``train.npz``, ``validation.npz`` and ``test.npz``, each with ``images`` (uint8 ``[n, 64, 64]``) and
``labels`` (int64 ``[n]``); nothing is downloaded.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import click
import numpy as np
from glyphs import CHARACTERS, SPLITS, Distortion, picture
from rich.progress import track

_CHUNK = 64


def render(split: str, count: int, seed: int, jobs: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures ``[count, 64, 64]`` and labels ``[count]`` of one split."""
    draw = partial(picture, split=split, seed=seed, distortion=Distortion())
    with ProcessPoolExecutor(jobs) as pool:
        drawn = pool.map(draw, range(count), chunksize=_CHUNK)
        found = list(track(drawn, description=f"{split:10}", total=count))
    return np.stack([image for image, _ in found]), np.array([label for _, label in found], np.int64)


@click.command(help=__doc__)
@click.option("-o", "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("build/glyphs"),
              show_default=True, help="Folder for the three files.")  # fmt: skip
@click.option("--train", default=900 * len(CHARACTERS), show_default=True, help="Pictures to train on.")
@click.option("--validation", default=40 * len(CHARACTERS), show_default=True, help="Pictures to search on.")
@click.option("--test", default=60 * len(CHARACTERS), show_default=True, help="Pictures to report on.")
@click.option("--seed", default=0, show_default=True)
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Processes.")
def main(out: Path, train: int, validation: int, test: int, seed: int, jobs: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for split, count in zip(SPLITS, (train, validation, test), strict=True):
        images, labels = render(split, count, seed, jobs)
        temporary = out / f".{split}.npz"
        np.savez_compressed(temporary, images=images, labels=labels)
        temporary.replace(out / f"{split}.npz")


if __name__ == "__main__":
    main()
