"""Compare the quantized digits model with the integer graph that the accelerator implements.

    python examples/digits/evaluate.py [MODEL.pt]

Prints the top-1 of both on the 360 test images, and how many predictions are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch

from qvit_hls.frontend.compile import integer_graph
from qvit_hls.nets.checkpoint import load_model
from qvit_hls.train.evaluation import predict

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Agreement:
    """Shares of the test images.

    Attributes:
        quantized, integer: top-1 of the fake-quantized model and of the integer graph.
        equal: predictions that are the same.
    """

    quantized: float
    integer: float
    equal: float


def evaluate(path: Path) -> Agreement:
    """Both models on the test images."""
    with np.load(HERE / "test.npz", allow_pickle=False) as file:
        images, labels = torch.from_numpy(file["images"]), torch.from_numpy(file["labels"])
    model = load_model(path)
    quantized = predict(model, images)
    integer = integer_graph(model, images[:1], path.stem)(images).flatten(1).argmax(dim=1)
    return Agreement(
        quantized=float((quantized == labels).float().mean()),
        integer=float((integer == labels).float().mean()),
        equal=float((quantized == integer).float().mean()),
    )


@click.command(help=__doc__)
@click.argument("model", type=click.Path(path_type=Path), default=HERE / "model.pt")
def main(model: Path) -> None:
    found = evaluate(model)
    click.echo(f"fake-quantized model: {found.quantized:.2%} top-1")
    click.echo(f"integer graph:        {found.integer:.2%} top-1")
    click.echo(f"equal predictions:    {found.equal:.2%}")


if __name__ == "__main__":
    main()
