"""Train a small mixed-precision Vision Transformer on scikit-learn's digits and write its model file.

    python examples/digits/train.py

Writes ``model.pt`` and ``test.npz`` (the 360 test images, as the model wants them, and their labels).
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.vit import QuantVisionTransformer
from qvit_hls.train.augment import random_affine
from qvit_hls.train.loop import Dataset, Phase, accuracy, predict, train_float, train_quantized

TEST_IMAGES = 360
#: The split never changes, whatever the training's seed.
SPLIT_SEED = 0
QUANTIZED_EPOCH_SHARE = 0.3

# Pixels are 0..16; the model sees (pixel / 16 - MEAN) / STD, the statistics of the data set.
MEAN, STD = 0.305, 0.376

CONFIG = VitConfig(
    image_size=8,
    channels=1,
    patch_size=2,
    classes=10,
    embed_dim=48,
    # Blocks differ, as in a searched network: heads, head width and MLP width.
    blocks=(
        BlockConfig(heads=3, head_dim=16, mlp_hidden=96),
        BlockConfig(heads=4, head_dim=16, mlp_hidden=128),
        BlockConfig(heads=4, head_dim=12, mlp_hidden=160),
        BlockConfig(heads=3, head_dim=16, mlp_hidden=128),
    ),
    pooling="cls",
    layer_scale=True,
    activation_bits=7,
    eight_bit_share=0.25,
    mean=(MEAN,),
    std=(STD,),
    class_names=tuple("0123456789"),
)


def load_split() -> tuple[Dataset, Dataset]:
    """The training and the test images, normalised; both hold every digit in equal shares."""
    digits = load_digits()
    images = torch.from_numpy(((digits.images / 16 - MEAN) / STD).astype(np.float32)[:, None])
    labels = torch.from_numpy(digits.target.astype(np.int64))
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_IMAGES, stratify=digits.target, random_state=SPLIT_SEED
    )
    return Dataset(images[train], labels[train]), Dataset(images[test], labels[test])


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Small rotations, zooms and shifts; outside the image is black."""
    return random_affine(images, generator, degrees=6, shift=0.3, zoom=0.05, fill=-MEAN / STD)


@click.command(help=__doc__)
@click.option("--epochs", default=240, show_default=True, help="Epochs of both phases together.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(__file__).parent,
    help="Folder for model.pt and test.npz.  [default: this example's folder]",
)
@click.option("--seed", default=0, show_default=True, help="Seed of initial weights, order and augmentation.")
def main(epochs: int, out: Path, seed: int) -> None:
    train, test = load_split()
    quantized_epochs = max(1, round(epochs * QUANTIZED_EPOCH_SHARE))
    # Chosen on a part of the training images. The digits are centred and few: strong augmentation hurts.
    float_phase = Phase(epochs - quantized_epochs, 2e-3, weight_decay=0.2, warmup_epochs=5)
    quantized_phase = Phase(quantized_epochs, 5e-4, weight_decay=0.2)
    # The model is too small to gain from threads, and one gives the same result on any number of cores.
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = QuantVisionTransformer(CONFIG)

    train_float(model, train, float_phase, seed, augment)
    float_predictions = predict(model, test.images)
    float_accuracy = accuracy(model, test)
    train_quantized(model, train, quantized_phase, seed + 1, augment)

    out.mkdir(parents=True, exist_ok=True)
    save_model(model, out / "model.pt")
    np.savez_compressed(out / "test.npz", images=test.images.numpy(), labels=test.labels.numpy())
    agreement = float((predict(model, test.images) == float_predictions).float().mean())
    click.echo(f"float      {float_accuracy:7.2%} of {len(test)} test images")
    click.echo(f"quantized  {accuracy(model, test):7.2%}, {agreement:.2%} of predictions as in float")
    click.echo(f"wrote {out / 'model.pt'} and {out / 'test.npz'}")


if __name__ == "__main__":
    main()
