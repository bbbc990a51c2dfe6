"""Supernets and networks of the ablations: trained once, kept in a folder, measured on the test images."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from qvit_hls.flow.pipeline_steps import Done, Step, Steps, Update, digest_file, digest_of
from qvit_hls.flow.search import PICKS, search_networks
from qvit_hls.flow.search_inputs import SearchRequest
from qvit_hls.flow.train import Resume, train
from qvit_hls.nets.checkpoint import load_model, save_model
from qvit_hls.nets.config import parse_config
from qvit_hls.nets.space import SearchSpace, load_space, space_of
from qvit_hls.nets.subnet import Subnet
from qvit_hls.nets.supernet import Supernet
from qvit_hls.nets.supernet_file import load_supernet, save_supernet
from qvit_hls.nets.vit import QuantVisionTransformer
from qvit_hls.search.accuracy import SupernetAccuracy
from qvit_hls.search.settings import Method
from qvit_hls.train.checkpoint import checkpoint_paths
from qvit_hls.train.objective import NetworkObjective
from qvit_hls.train.pictures import Preparation
from qvit_hls.train.processes import Processes
from qvit_hls.train.settings import parse_training
from qvit_hls.train.sources import open_source
from qvit_hls.train.trainer import CHECKPOINTS, Trainer

SPACE = Path(__file__).parent / "space.yaml"
#: One small accelerator for all: on a large one, these networks hardly get slower with 8-bit rows.
TILE = "8,16,4"
CLOCK_MHZ = 200.0
_CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class Budget:
    """How much is trained and searched.

    Attributes:
        steps: of a supernet, and of a network that is trained on its own.
        tune_steps: of a network that has its weights from a supernet.
        trials: of a search.
        search_images: validation images that a search measures networks on.
        cycles: limits of the searches, ascending.
        networks: drawn at random, to compare supernets on.
        ranked: of those, how many are tuned, to compare ranks.
    """

    steps: int = 5000
    tune_steps: int = 200
    trials: int = 80
    search_images: int = 1005
    cycles: tuple[int, ...] = (7_000, 10_000, 14_000)
    networks: int = 20
    ranked: int = 8

    @property
    def targets(self) -> tuple[float, ...]:
        """The limits as frames per second, ascending."""
        return tuple(sorted(CLOCK_MHZ * 1e6 / cycles for cycles in self.cycles))


def space(*, layer_scale: bool = True, shares: tuple[float, ...] | None = None) -> SearchSpace:
    """The ablations' space, without the scaling of branches, or with some shares of 8-bit rows only."""
    fields = load_space(str(SPACE)).model_dump(mode="json")
    fields["network"]["layer_scale"] = layer_scale
    if shares is not None:
        fields["eight_bit_share"] = list(shares)
    return space_of(fields, "small_glyphs")


def drawn_networks(count: int) -> list[Subnet]:
    """Networks of the space, drawn at random; always the same."""
    generator = np.random.default_rng(2024)
    return [space().sample(generator) for _ in range(count)]


class Laboratory:
    """What has been trained so far, in a folder; what is not there yet is made.

    Args:
        data: folder with the glyphs' ``train.npz``, ``validation.npz`` and ``test.npz``.
    """

    def __init__(self, folder: Path, data: Path, budget: Budget) -> None:
        self.budget = budget
        self._data = {name: data / f"{name}.npz" for name in ("train", "validation", "test")}
        self._digests = {name: digest_file(path) for name, path in self._data.items()}
        self._steps = Steps(folder, _silent)
        self._locks = folder / ".locks"
        self._locks.mkdir(parents=True, exist_ok=True)

    # ------------------------------------------------------------ training

    def supernet(self, seed: int, *, layer_scale: bool = True) -> Path:
        """A trained supernet's file."""
        fields = space(layer_scale=layer_scale).model_dump(mode="json")
        name = f"supernet_{'scaled' if layer_scale else 'plain'}_{seed}"
        training = self._training(seed, self.budget.steps, random_subnets=1, distillation=0.5)

        def work(folder: Path, update: Update) -> None:
            # Beside the run's folder, which is resumed or not there yet.
            file = folder.parent / "space.yaml"
            file.write_text(yaml.safe_dump(fields), encoding="utf-8")
            self._train(str(file), training, folder)

        return self._made(name, {"space": fields, "training": training}, work, "supernet.pt")

    def alone(self, seed: int, subnet: Subnet) -> Path:
        """The model file of a network that was trained on its own, as long as a supernet."""
        training = self._training(seed, self.budget.steps)
        name = f"alone_{seed}/{_short(subnet)}"

        def work(folder: Path, update: Update) -> None:
            torch.manual_seed(seed)
            self._save_calibrated(Supernet(space()).extract(subnet), folder.parent / "untrained")
            self._train(str(folder.parent / "untrained" / "model.pt"), training, folder)

        return self._made(name, {"subnet": subnet.to_json(), "training": training}, work, "model.pt")

    def tuned(self, seed: int, supernet: Path, subnet: Subnet) -> Path:
        """The model file of a supernet's network after some steps of its own."""
        training = self._tuning(seed)
        inputs = {"supernet": digest_file(supernet), "subnet": subnet.to_json(), "training": training}
        name = f"tuned_{seed}/{_short(subnet)}"

        def work(folder: Path, update: Update) -> None:
            save_model(load_supernet(supernet).extract(subnet), folder.parent / "inherited.pt")
            self._train(str(folder.parent / "inherited.pt"), training, folder)

        return self._made(name, inputs, work, "model.pt")

    def in_float(self, seed: int, subnet: Subnet) -> Path:
        """The model file of a network that was trained on its own, as long as a supernet, and never
        quantized; its steps are calibrated."""
        training = self._training(seed, self.budget.steps, float_share=1.0)
        del training["quantized_learning_rate"]

        def work(folder: Path, update: Update) -> None:
            torch.manual_seed(seed)
            network = Supernet(space()).extract(subnet)
            config = parse_training(training, "training")
            source = open_source(str(self._data["train"]), network.config.classes)
            Trainer(NetworkObjective(network, config), config, source, _preparation(), Processes()).train()
            self._save_calibrated(network, folder)

        inputs = {"subnet": subnet.to_json(), "training": training, "train": self._digests["train"]}
        return self._done(Step(f"float_{seed}/{_short(subnet)}", inputs, work)).folder / "model.pt"

    def at_precision(self, model: Path, share: float, activation_bits: int) -> Path:
        """A model file with the same weights, its rows and steps chosen anew at another precision."""

        def work(folder: Path, update: Update) -> None:
            network = load_model(model)
            fields = network.config.model_dump() | {
                "activation_bits": activation_bits, "eight_bit_share": share, "layer_eight_bit_share": {},
            }  # fmt: skip
            other = QuantVisionTransformer(parse_config(fields))
            other.load_state_dict(network.state_dict())
            self._save_calibrated(other, folder)

        inputs = {"model": digest_file(model), "share": share, "activation_bits": activation_bits}
        name = f"{model.parent.parent.name}_{model.parent.name}_w{share:g}_a{activation_bits}"
        return self._done(Step(name, inputs, work)).folder / "model.pt"

    def tuned_model(self, seed: int, model: Path) -> Path:
        """The model file of a network after some more steps; its rows are kept."""
        training = self._tuning(seed)
        inputs = {"model": digest_file(model), "training": training}

        def work(folder: Path, update: Update) -> None:
            self._train(str(model), training, folder)

        return self._made(f"{model.parent.name}_tuned", inputs, work, "model.pt")

    def _save_calibrated(self, network: QuantVisionTransformer, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        network.allocate_rows()
        network.calibrate(self._images("validation")[0][:_CALIBRATION_IMAGES])
        save_model(network, folder / "model.pt")

    def _tuning(self, seed: int) -> dict[str, Any]:
        training = self._training(seed, self.budget.tune_steps, float_share=0.0, learning_rate=0.0005)
        del training["quantized_learning_rate"]
        return training

    def _training(self, seed: int, steps: int, **more: object) -> dict[str, Any]:
        return {
            "steps": steps,
            "float_share": 0.7,
            "batch_size": 64,
            "learning_rate": 0.0015,
            "quantized_learning_rate": 0.0007,
            "warmup_steps": min(100, steps // 10),
            "checkpoint_every": 500,
            "keep_checkpoints": 1,
            "seed": seed,
            **more,
        }

    def _train(self, what: str, training: Mapping[str, Any], folder: Path) -> None:
        resume = Resume() if checkpoint_paths(folder / CHECKPOINTS) else None
        train(what, str(self._data["train"]), folder, changes=training, resume=resume)

    def _made(
        self, name: str, inputs: dict[str, Any], work: Callable[[Path, Update], None], file: str
    ) -> Path:
        inputs = {**inputs, "train": self._digests["train"]}
        return self._done(Step(name, inputs, work, (file,), resumes=True)).folder / file

    def _done(self, step: Step) -> Done:
        """The step's result. Where another process is at it, this one waits."""
        with (self._locks / step.name.replace("/", ".")).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return self._steps.run(step)

    # ------------------------------------------------------------ search

    def restricted(self, supernet: Path, share: float) -> Path:
        """The same supernet with one share of 8-bit rows in all layers of all its networks."""
        inputs = {"supernet": digest_file(supernet), "share": share}
        name = f"{supernet.parent.name}_only_{share:g}"

        def work(folder: Path, update: Update) -> None:
            folder.mkdir(exist_ok=True)
            uniform = Supernet(space(shares=(share,)))
            uniform.load_state_dict(load_supernet(supernet).state_dict())
            save_supernet(uniform, folder / "supernet.pt")

        return self._done(Step(name, inputs, work)).folder / "supernet.pt"

    def search(self, seed: int, supernet: Path, method: Method) -> dict[str, Any]:
        """A search's picks and progress, as ``picks.json`` has them."""
        budget = self.budget
        inputs = {
            "supernet": digest_file(supernet), "validation": self._digests["validation"], "seed": seed,
            "method": method, "trials": budget.trials, "images": budget.search_images,
            "targets": budget.targets,
        }  # fmt: skip

        def work(folder: Path, update: Update) -> dict[str, Any]:
            request = SearchRequest(
                supernet, str(self._data["validation"]), folder, budget.targets, clock_mhz=CLOCK_MHZ,
                accelerator=TILE, trials=budget.trials, method=method, seed=seed,
                images=budget.search_images,
            )  # fmt: skip
            return search_networks(request).to_json()

        name = f"search_{supernet.parent.name}_{method}_{seed}"
        found: dict[str, Any] = self._done(Step(name, inputs, work, (PICKS,), resumes=True)).result
        return found

    # ------------------------------------------------------------ accuracies

    def inherited_accuracies(self, supernet: Path, subnets: list[Subnet]) -> list[float]:
        """On the test images, with the supernet's weights."""
        accuracy = SupernetAccuracy(load_supernet(supernet), *self._test)
        return [accuracy(subnet) for subnet in subnets]

    @torch.inference_mode()
    def accuracy(self, model: Path, *, quantized: bool = True) -> float:
        """Of a model file on the test images, as it is or in float."""
        network, (images, labels) = load_model(model), self._test
        network.set_quantization(quantized)
        right = sum(
            int((network(x).argmax(dim=1) == y).sum())
            for x, y in zip(images.split(256), labels.split(256), strict=True)
        )
        return right / len(labels)

    @cached_property
    def _test(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._images("test")

    def _images(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        preparation = _preparation()
        source = open_source(str(self._data[name]), space().network["classes"])
        items = [source.item(index) for index in range(len(source))]
        images = torch.stack([preparation.validation(picture) for picture, _ in items])
        return images, torch.tensor([label for _, label in items])


def _preparation() -> Preparation:
    network = space().network
    return Preparation(network["image_size"], network["channels"], (0.5,), (0.5,))


def _short(subnet: Subnet) -> str:
    """A name for a folder; what it holds is checked by its inputs."""
    return digest_of(subnet.to_json())[:12]


@contextmanager
def _silent(name: str, reason: str | None) -> Iterator[Update]:
    yield lambda stage, done, total: None
