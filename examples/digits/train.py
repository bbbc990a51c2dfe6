"""Train a small mixed-precision Vision Transformer on scikit-learn's digits and write its model file.

    python examples/digits/train.py

Writes ``model.pt`` and ``test.npz`` (the 360 test images, as the model wants them, and their labels).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.vit import QuantVisionTransformer
from qvit_hls.train.evaluation import predict
from qvit_hls.train.objective import NetworkObjective
from qvit_hls.train.pictures import Preparation
from qvit_hls.train.processes import Processes
from qvit_hls.train.progress import training_progress
from qvit_hls.train.settings import Affine, Augmentation, TrainingConfig
from qvit_hls.train.sources import ArraySource
from qvit_hls.train.trainer import Trainer

TEST_IMAGES = 360
#: The split never changes, whatever the training's seed.
SPLIT_SEED = 0
QUANTIZED_EPOCH_SHARE = 0.3
BATCH_SIZE = 64

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


@dataclass(frozen=True)
class Images:
    """Labelled images, normalised: float32 ``[n, 1, 8, 8]`` and int64 ``[n]``."""

    images: np.ndarray
    labels: np.ndarray

    def predictions(self, model: QuantVisionTransformer) -> np.ndarray:
        """Classes that a model predicts, int64 ``[n]``."""
        return predict(model, torch.from_numpy(self.images)).numpy()

    def accuracy(self, model: QuantVisionTransformer) -> float:
        """Top-1, 0 to 1."""
        return float((self.predictions(model) == self.labels).mean())


def load_split() -> tuple[Images, Images]:
    """The training and the test images; both hold every digit in equal shares."""
    digits = load_digits()
    images = ((digits.images / 16 - MEAN) / STD).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=TEST_IMAGES, stratify=digits.target, random_state=SPLIT_SEED
    )
    return Images(images[train], labels[train]), Images(images[test], labels[test])


def fit(
    model: QuantVisionTransformer, data: Images, *, quantized: bool, epochs: int, seed: int, rate: float
) -> None:
    """Train in place; small rotations, zooms and shifts, outside the image is black."""
    steps = round(epochs * len(data.labels) / BATCH_SIZE)
    config = TrainingConfig(
        seed=seed,
        steps=steps,
        float_share=0 if quantized else 1,
        batch_size=BATCH_SIZE,
        learning_rate=rate,
        warmup_steps=steps // 30,
        weight_decay=0.2,
        augmentation=Augmentation(affine=Affine(degrees=6, shift=0.3, zoom=0.05)),
    )
    source = ArraySource(data.images, data.labels, CONFIG.classes, "digits")
    preparation = Preparation(CONFIG.image_size, CONFIG.channels, (MEAN,), (STD,))
    with training_progress() as progress:
        objective = NetworkObjective(model, config)
        Trainer(objective, config, source, preparation, Processes(cpu=True), progress=progress).train()


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
    # The model is too small to gain from threads, and one gives the same result on any number of cores.
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = QuantVisionTransformer(CONFIG)

    # Chosen on a part of the training images. The digits are centred and few: strong augmentation hurts.
    fit(model, train, quantized=False, epochs=epochs - quantized_epochs, seed=seed, rate=2e-3)
    float_predictions = test.predictions(model)
    float_accuracy = test.accuracy(model)
    fit(model, train, quantized=True, epochs=quantized_epochs, seed=seed + 1, rate=5e-4)

    out.mkdir(parents=True, exist_ok=True)
    save_model(model, out / "model.pt")
    np.savez_compressed(out / "test.npz", images=test.images, labels=test.labels)
    agreement = float((test.predictions(model) == float_predictions).mean())
    click.echo(f"float      {float_accuracy:7.2%} of {len(test.labels)} test images")
    click.echo(f"quantized  {test.accuracy(model):7.2%}, {agreement:.2%} of predictions as in float")
    click.echo(f"wrote {out / 'model.pt'} and {out / 'test.npz'}")


if __name__ == "__main__":
    main()
