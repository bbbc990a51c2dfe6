"""From a tile to a whole configuration: memories and units as the model's program needs them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from qvit_hls.errors import QvitError
from qvit_hls.hw.accelerator import AcceleratorConfig, Mac
from qvit_hls.hw.program import Program
from qvit_hls.hw.requirements import check_fits, image_pixels, sized
from qvit_hls.hw.schedule import schedule
from qvit_hls.ir.graph import Graph

#: Any tile will do to find out what no tile can run.
_ANY_TILE = (8, 16, 8)


def check_structure(graph: Graph) -> None:
    """Raise what no accelerator can run, whatever its tile and memories.

    Args:
        graph: integer, after INTEGER_PASSES.

    Raises:
        QvitError: what scheduling says; all problems.
    """
    schedule(graph, unsized(graph, "hls", _ANY_TILE))


def unsized(graph: Graph, mac: Mac, tile: tuple[int, int, int], **fields: Any) -> AcceleratorConfig:
    """A configuration of a tile (T_n, T_m, T_k) whose memories are still to be sized.

    Args:
        fields: further fields of AcceleratorConfig; without them, all rows are on LUT lanes, there is one
            weight port, and rows drain one by one.

    Raises:
        QvitError: such a tile cannot be built.
    """
    tokens, rows, depth = tile
    values: dict[str, Any] = {
        "mac": mac,
        "tile_tokens": tokens,
        "tile_rows": rows,
        "tile_depth": depth,
        "activation_bits": 8,
        "dsp_rows": 0,
        "weight_ports": 1,
        "drain_rows": 1,
        "activation_depth": 1,
        "digit_depth": 1,
        "wide_depth": 1,
        "weight_depth": 1,
        "max_row_tiles": 1,
        "table_bits": 0,
        "max_tokens": 1,
        "max_channels": 1,
        "image_pixels": image_pixels(graph, depth),
        "accumulator_bits": 32,
        "softmax": True,
        "layer_norm": True,
        "mean_tokens": True,
    }
    try:
        return AcceleratorConfig(**{**values, **fields})
    except ValidationError as error:
        problems = "; ".join(
            ": ".join((*map(str, item["loc"]), item["msg"].removeprefix("Value error, ")))
            for item in error.errors()
        )
        raise QvitError(f"tile {tokens},{rows},{depth} cannot be built: {problems}") from error


def complete(
    graph: Graph, config: AcceleratorConfig, buffers: int = 1, activation_bits: int | None = None
) -> Program:
    """The program of a model, on the accelerator with memories of the sizes that it needs.

    Args:
        buffers: depth of the weight buffer, in multiples of the longest matrix product.
        activation_bits: of the accelerator; by default the model's.

    Raises:
        QvitError: the engine cannot run the model, or no accelerator is as large or as wide as it needs.
    """
    program = schedule(graph, config)
    try:
        fitting = sized(config, graph, program, activation_bits)
    except ValidationError as error:
        raise QvitError(_beyond(graph, item) for item in error.errors()) from error
    deeper = fitting.model_copy(update={"weight_depth": buffers * fitting.weight_depth})
    return replace(program, config=deeper)


def _beyond(graph: Graph, item: ErrorDetails) -> str:
    """What a model needs and no accelerator has."""
    if not isinstance(item["input"], int):
        return f"{graph.name}: {item['msg'].removeprefix('Value error, ')}"
    field = ".".join(map(str, item["loc"]))
    most = item.get("ctx", {}).get("le")
    limit = item["msg"] if most is None else f"accelerators have at most {most:,}"
    return f"{graph.name} needs {item['input']:,} {field.replace('_', ' ')}; {limit}"


def program_for(graph: Graph, config: AcceleratorConfig) -> Program:
    """The program of a model on a given accelerator.

    Raises:
        QvitError: the model does not fit it; everything it lacks is named.
    """
    program = schedule(graph, config)
    check_fits(graph, program)
    return program
