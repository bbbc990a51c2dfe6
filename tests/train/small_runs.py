"""Small networks, spaces and runs that several tests train."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.space import SearchSpace, space_of
from qvit_hls.nets.supernet import Supernet
from qvit_hls.nets.vit import QuantVisionTransformer
from qvit_hls.train.checkpoint import Checkpoint
from qvit_hls.train.objective import NetworkObjective, Objective, SupernetObjective
from qvit_hls.train.pictures import Preparation
from qvit_hls.train.processes import Processes
from qvit_hls.train.settings import TrainingConfig
from qvit_hls.train.sources import ArraySource
from qvit_hls.train.trainer import RunFolder, Trainer

NETWORK = VitConfig(
    image_size=4, channels=1, patch_size=2, classes=2, embed_dim=16, layer_scale=True,
    blocks=(BlockConfig(heads=2, head_dim=4, mlp_hidden=16),),
)  # fmt: skip
#: Measured, so different in every run.
TIMINGS = ("images_per_second",)
PREPARATION = Preparation(image_size=4, channels=1, mean=(0.0,), std=(1.0,))


def small_space() -> SearchSpace:
    fields = {
        "name": "small", "depth": [1, 2], "embed_dim": [8, 16], "heads": [1, 2], "head_dim": [4],
        "mlp_ratio": [1, 2], "eight_bit_share": [0, 0.5, 1],
        "network": {"image_size": 4, "channels": 1, "patch_size": 2, "classes": 2},
    }  # fmt: skip
    return space_of(fields, "small")


def bright_or_dark(count: int = 64) -> ArraySource:
    """Two classes that differ in the mean of the image."""
    labels = np.arange(count) % 2
    images = np.random.default_rng(0).standard_normal((count, 1, 4, 4)) + (2 * labels - 1).reshape(
        -1, 1, 1, 1
    )
    return ArraySource(images, labels, 2, "bright or dark")


def settings(**changes: object) -> TrainingConfig:
    fields = {
        "steps": 12, "batch_size": 16, "learning_rate": 3e-3, "log_every": 1, "checkpoint_every": 5,
        "augmentation": {"affine": {}, "mixing": {}}, "ema_decay": 0.9, "order_rows_every": 2,
    }  # fmt: skip
    return TrainingConfig.model_validate({**fields, **changes})


def network_objective(config: TrainingConfig) -> NetworkObjective:
    torch.manual_seed(0)
    return NetworkObjective(QuantVisionTransformer(NETWORK), config)


def supernet_objective(config: TrainingConfig) -> SupernetObjective:
    torch.manual_seed(0)
    return SupernetObjective(Supernet(small_space()), config)


def run(
    objective: Objective,
    config: TrainingConfig,
    folder: Path | None = None,
    resumed: Checkpoint | None = None,
    source: ArraySource | None = None,
) -> Trainer:
    """Train to the end."""
    trainer = Trainer(
        objective, config, source or bright_or_dark(), PREPARATION, Processes(cpu=True),
        folder=None if folder is None else RunFolder(folder, {"network": "small"}),
        validation=bright_or_dark(10),
    )  # fmt: skip
    trainer.train(resumed)
    return trainer


class DeadlySource(ArraySource):
    """Kills its process, as ``kill -9`` does, when it has given some images."""

    def __init__(self, images: int) -> None:
        good = bright_or_dark()
        super().__init__(good._images, good._labels, 2, good.origin)
        self._left = images

    def item(self, index: int) -> tuple[object, int]:  # type: ignore[override]
        import os
        import signal

        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().item(index)


if __name__ == "__main__":
    kind, folder, images = sys.argv[1:]
    torch.set_num_threads(1)
    chosen = settings()
    make = {"network": network_objective, "supernet": supernet_objective}[kind]
    run(make(chosen), chosen, Path(folder), source=DeadlySource(int(images)))
