"""What a training run has made, in words."""

from __future__ import annotations

from collections.abc import Iterator

from qvit_hls.flow.train import Trained


def trained_lines(trained: Trained) -> Iterator[str]:
    """A line for each network's accuracy, and one for the file."""
    for name, share in trained.accuracies.items():
        yield f"{name:<9} {share:7.2%} of the validation images"
    yield f"wrote {trained.path} after {trained.steps} steps"
