"""The verb ``explore``: from models, or shapes of published models, to the accelerators worth building."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from qvit_hls.errors import QvitError
from qvit_hls.flow.generate import Progress, Target, compile_model
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.frontend.compile import integer_graph
from qvit_hls.hw.explore.explore import Exploration, explore
from qvit_hls.ir.graph import Graph
from qvit_hls.nets.presets import PRESETS
from qvit_hls.nets.random import random_model


@one_torch_thread()
def explore_models(
    models: Sequence[Path],
    shapes: Sequence[str],
    target: Target,
    *,
    activation_bits: int = 7,
    eight_bit_share: float = 0.25,
    target_fps: float | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Exploration:
    """Search the accelerators of a board for one that runs all models.

    Args:
        models: model files.
        shapes: names of presets: models of random weights.
        target: board, clock and engine.
        activation_bits: of the presets.
        eight_bit_share: share of the presets' rows that have 8 bits, 0 to 1.
        target_fps: frames per second that each model must reach.

    Raises:
        QvitError: no model was named, a model is not valid, nothing fits the board, or nothing reaches the
            target.
    """
    problems = [] if models or shapes else ["Name a model file, or a shape with --shape."]
    problems += [
        f"There is no shape {name!r}; shapes are {', '.join(PRESETS)}."
        for name in shapes
        if name not in PRESETS
    ]
    problems += [f"There is no model file {model}." for model in models if not model.is_file()]
    if target_fps is not None and not 0 < target_fps < float("inf"):
        problems.append(
            f"The target is {target_fps} frames per second; it should be a number greater than 0."
        )
    if problems:
        raise QvitError(problems)
    graphs = [compile_model(model, False, progress) for model in models]
    graphs += [preset_graph(shape, activation_bits, eight_bit_share) for shape in shapes]
    progress("explore", 0, 1)
    result = explore(graphs, target.board, target.clock_mhz, target.mac, target_fps)
    progress("explore", 1, 1)
    return result


def preset_graph(shape: str, activation_bits: int, eight_bit_share: float = 0.25) -> Graph:
    """The integer graph of a preset with random weights; they matter neither to cycles nor to resources."""
    config = PRESETS[shape](activation_bits).model_copy(update={"eight_bit_share": eight_bit_share})
    example = torch.zeros(1, config.channels, config.image_size, config.image_size)
    return integer_graph(random_model(config, 1), example, shape)
