"""Training throughput: a quantized supernet's step against plain float training of the same network.

Both run through the training engine, on the same images, which are in memory and not augmented. A step of the
supernet trains its largest network with quantization on; the plain run trains that network in float. On a GPU
the shapes are AutoFormer-T's and times are wall-clock times. On a CPU the network is AutoFormer-T's cut to a
few blocks and small images, in one thread, and times are those of the processor, so that other programs
matter little.

    python benchmarks/training_throughput.py [--steps N] [--batch N] [--precision bfloat16] [--json FILE]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from qvit_hls.flow.output import write_json
from qvit_hls.nets.space import SearchSpace, load_space, space_of
from qvit_hls.nets.subnet import Subnet
from qvit_hls.nets.supernet import Supernet
from qvit_hls.train.objective import NetworkObjective, Objective, SupernetObjective
from qvit_hls.train.pictures import Preparation
from qvit_hls.train.processes import Processes
from qvit_hls.train.settings import TrainingConfig
from qvit_hls.train.sources import ArraySource
from qvit_hls.train.trainer import Trainer

RESULTS = Path(__file__).parent / "results" / "training_throughput.json"
#: Steps before the measured ones.
WARM_UP = 3
#: Of AutoFormer-T, on a CPU.
CPU_DEPTH = 3
CPU_IMAGE = 112


class LargestOnly(SupernetObjective):
    """Trains the largest network of a supernet, in every step."""

    def subnets(self, step: int) -> list[tuple[str, Subnet]]:
        return [("largest", self.model.space.largest().with_share(0.5))]


def space_for(device: torch.device) -> SearchSpace:
    space = load_space("autoformer_t")
    if device.type != "cpu":
        return space
    fields = space.model_dump(mode="json")
    fields["depth"] = [CPU_DEPTH]
    fields["network"] |= {"image_size": CPU_IMAGE, "classes": 100}
    return space_of(fields, "autoformer_t, cut")


def seconds_per_step(
    objective: Objective, config: TrainingConfig, source: ArraySource, clock: Callable[[], float]
) -> float:
    """Median over the measured steps."""
    shape = objective.input
    preparation = Preparation(shape.image_size, shape.channels, (0.5,) * 3, (0.5,) * 3)
    times: list[float] = []
    Trainer(
        objective, config, source, preparation, Processes(),
        progress=lambda phase, done, total, loss: times.append(clock()),
    ).train()  # fmt: skip
    steps = np.diff(times)[WARM_UP - 1 :]
    return statistics.median(steps.tolist())


def measure(steps: int, batch: int, precision: str, repetitions: int) -> dict[str, object]:
    device = Processes().device
    if device.type == "cpu":
        torch.set_num_threads(1)

    def clock() -> float:
        if device.type == "cpu":
            return time.process_time()
        torch.accelerator.synchronize()
        return time.perf_counter()

    space = space_for(device)
    shape = space.config(space.largest())
    drawn = np.random.default_rng(0)
    images = drawn.standard_normal((batch, shape.channels, shape.image_size, shape.image_size), np.float32)
    source = ArraySource(images, drawn.integers(shape.classes, size=batch), shape.classes, "noise")
    settings = {"steps": steps + WARM_UP, "batch_size": batch, "precision": precision, "log_every": 1}
    plain = TrainingConfig.model_validate({**settings, "float_share": 1})
    quantized = TrainingConfig.model_validate(
        {**settings, "float_share": 0, "sandwich": False, "random_subnets": 1, "calibration_images": batch}
    )
    rates: dict[str, list[float]] = {"plain_float": [], "quantized_supernet": []}
    for _ in range(repetitions):
        torch.manual_seed(0)
        supernet = Supernet(space)
        network = supernet.extract(space.largest())
        for name, objective, config in (
            ("plain_float", NetworkObjective(network, plain), plain),
            ("quantized_supernet", LargestOnly(supernet, quantized), quantized),
        ):
            rates[name].append(batch / seconds_per_step(objective, config, source, clock))
    best = {name: max(values) for name, values in rates.items()}
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU, one thread"
    return {
        "device": name,
        "torch": torch.__version__,
        "precision": precision,
        "network": {
            "depth": len(shape.blocks), "embed_dim": shape.embed_dim, "tokens": shape.tokens, "batch": batch,
        },
        "images_per_second": best,
        "all_images_per_second": rates,
        "relative": best["quantized_supernet"] / best["plain_float"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=6, help="measured steps of each run")
    parser.add_argument("--batch", type=int, help="images per step [default: 256 on a GPU, 64 on a CPU]")
    parser.add_argument("--repetitions", type=int, default=3, help="runs of each kind; the best counts")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    batch = arguments.batch or (64 if Processes().device.type == "cpu" else 256)
    found = measure(arguments.steps, batch, arguments.precision, arguments.repetitions)
    write_json(arguments.json, found)
    rates = found["images_per_second"]
    assert isinstance(rates, dict)
    for name, rate in rates.items():
        print(f"{name:<18} {rate:8.1f} images/s")
    print(f"relative           {found['relative']:8.2f} on {found['device']}")


if __name__ == "__main__":
    main()
