"""Choosing an accelerator for a model and a board: the fastest tile that fits, and of those the smallest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from math import lcm

from pydantic import ValidationError

from qvit_hls.errors import QvitError
from qvit_hls.hw import lane_cost
from qvit_hls.hw.accelerator import ATOMS_PER_WORD, DSP_LANES, AcceleratorConfig, Mac
from qvit_hls.hw.board import Board
from qvit_hls.hw.descriptor import Descriptor
from qvit_hls.hw.gemm_timing import ceil_div
from qvit_hls.hw.program import Program
from qvit_hls.hw.requirements import check_fits, image_pixels, sized
from qvit_hls.hw.schedule import schedule
from qvit_hls.hw.unit_cycles import layer_cycles
from qvit_hls.ir.graph import Graph

_DEPTHS = (2, 4, 8, 16)
_MAX_TOKENS = 128
_PORTS = (1, 2, 4)
#: Tiles of a multiple of so many rows can be drained two rows at a time.
_PAIRED_ROWS = 4
#: Shares of the largest tile that the lanes allow; small models are as fast on a small tile.
_SHARES = (1.0, 0.75, 0.5, 0.375, 0.25, 0.125, 0.0625, 0.03125)
#: A design this much slower than the fastest is taken when it is smaller.
_TOLERANCE = 1.03
#: How many of the fastest candidates are scheduled in full.
_FINALISTS = 40


def choose_accelerator(
    graph: Graph, board: Board, tile: tuple[int, int, int] | None = None, mac: Mac = "hls"
) -> Program:
    """The program of a model on the accelerator chosen for it.

    Candidates are ranked by the cycles of their descriptors' loops; the best are scheduled and sized in
    full, and the first that fits the board wins.

    Args:
        tile: T_n, T_m and T_k, when the caller has chosen them.
        mac: what the engine is made of.

    Raises:
        QvitError: nothing fits the board, or the wanted tile is not buildable.
    """
    reference = _configuration(graph, board, mac, 16, 32, 2)
    probe = _complete(graph, reference)
    bits = probe.config.activation_bits
    shapes = Counter(_shape(layer.descriptor) for layer in probe.layers)
    if tile is not None:
        program = _complete(graph, _configuration(graph, board, mac, *tile, bits=bits, exact=True))
        _check_board(program.config, board)
        return program
    ranked = sorted(
        (_cycles(config, shapes), config.lanes, _order(config), config)
        for config in _candidates(graph, board, mac, bits)
    )
    best = None
    finalists: list[tuple[int, int, Program]] = []
    bram36 = board.usable * board.bram36
    too_large: set[tuple[int, int]] = set()  # T_n and T_k whose activations alone do not fit
    for cycles, lanes, _, config in ranked:
        if best is not None and (cycles > best * _TOLERANCE or len(finalists) >= _FINALISTS):
            break
        if (config.tile_tokens, config.tile_depth) in too_large:
            continue
        program = _complete(graph, config)
        if lane_cost.activation_bram36(program.config) > bram36:
            too_large.add((config.tile_tokens, config.tile_depth))
        if lane_cost.bram36(program.config) > bram36:
            continue
        best = cycles if best is None else best
        finalists.append((lanes, cycles, program))
    if not finalists:
        raise QvitError(
            f"no accelerator for {graph.name} fits {board.name}: its activations need more block RAM than "
            f"{int(bram36)} BRAM36 ({board.usable:.0%} of the board's {board.bram36})"
        )
    return min(finalists, key=lambda item: (item[0], item[1]))[2]


def program_for(graph: Graph, config: AcceleratorConfig) -> Program:
    """The program of a model on a given accelerator.

    Raises:
        QvitError: the model does not fit it; everything it lacks is named.
    """
    program = schedule(graph, config)
    check_fits(graph, program)
    return program


def _check_board(config: AcceleratorConfig, board: Board) -> None:
    """Refuse a tile that is larger than the whole board; the counts are estimates, so no margin is asked."""
    counts = (
        ("LUTs", lane_cost.luts(config), board.lut),
        ("DSPs", lane_cost.dsps(config), board.dsp),
        ("BRAM36", lane_cost.bram36(config), board.bram36),
    )
    lacks = [f"about {need:,} {name} of {have:,}" for name, need, have in counts if need > have]
    if lacks:
        tile = f"{config.tile_tokens},{config.tile_rows},{config.tile_depth}"
        raise QvitError(f"tile {tile} does not fit {board.name}: it takes {'; '.join(lacks)}")


def _complete(graph: Graph, config: AcceleratorConfig) -> Program:
    """The program with memories of the sizes that it needs; it does not depend on them itself."""
    program = schedule(graph, config)
    return replace(program, config=sized(config, graph, program))


def _shape(descriptor: Descriptor) -> Descriptor:
    """What a layer's cycles depend on: its descriptor without addresses and numbers."""
    nothing = ("x", "y", "digit", "trace")
    addresses = {f"{name}_{word}": 0 for name in nothing for word in ("base", "stride")}
    return replace(
        descriptor, **addresses, steps=0, after=0, trace_tokens=0, trace_channels=0, multiplier=0, shift=0,
        qmax=0, epsilon_low=0, epsilon_high=0,
    )  # fmt: skip


def _cycles(config: AcceleratorConfig, shapes: Counter[Descriptor]) -> int:
    return sum(count * layer_cycles(config, descriptor) for descriptor, count in shapes.items())


def _order(config: AcceleratorConfig) -> tuple[int, int, int, int]:
    return config.tile_tokens, config.tile_rows, config.tile_depth, config.weight_ports


def _candidates(graph: Graph, board: Board, mac: Mac, bits: int) -> Iterator[AcceleratorConfig]:
    for depth in _DEPTHS:
        for tokens in range(lcm(depth, 2), _MAX_TOKENS + 1, lcm(depth, 2)):
            for ports in _PORTS:
                if ports > board.weight_ports:
                    continue
                seen = set()
                for share in _SHARES:
                    rows, dsp_rows = _rows(board, mac, tokens, depth, bits, share)
                    if rows >= 2 and rows not in seen:
                        seen.add(rows)
                        yield _configuration(graph, board, mac, tokens, rows, depth, ports, dsp_rows, bits)


def _rows(board: Board, mac: Mac, tokens: int, depth: int, bits: int, share: float) -> tuple[int, int]:
    """Atom rows on all lanes and on DSP lanes that a share of the board allows."""
    column, cost = tokens * depth, lane_cost.LANE_COST[mac]
    dsp_left = board.usable * board.dsp - cost.vector_dsp * tokens - cost.fixed_dsp
    lut_left = board.usable * board.lut - cost.vector_lut * tokens - cost.fixed_lut
    per_dsp = 3 if bits == 8 else 2
    by_dsp = int(share * dsp_left * DSP_LANES[bits] / column)
    by_lut = int(share * lut_left / (column * cost.lut_per_dsp_lane[bits]))
    dsp_rows = max(0, min(by_dsp, by_lut)) // per_dsp * per_dsp
    left = share * lut_left - dsp_rows * column * cost.lut_per_dsp_lane[bits]
    lut_rows = max(0, int(left / (column * cost.lut_per_lut_lane[bits])))
    unit = _PAIRED_ROWS if mac == "rtl" else 2
    rows = min((dsp_rows + lut_rows) // unit * unit, 1024)
    return rows, min(dsp_rows, rows // per_dsp * per_dsp)


def _configuration(
    graph: Graph,
    board: Board,
    mac: Mac,
    tokens: int,
    rows: int,
    depth: int,
    ports: int = 1,
    dsp_rows: int | None = None,
    bits: int = 8,
    exact: bool = False,
) -> AcceleratorConfig:
    """A configuration whose memories are still to be sized."""
    per_dsp = 3 if bits == 8 else 2
    if exact:
        column = tokens * depth
        dsp_left = int(board.usable * board.dsp - lane_cost.LANE_COST[mac].vector_dsp * tokens)
        most = dsp_left * DSP_LANES[bits] // column
        dsp_rows = max(0, min(rows, most)) // per_dsp * per_dsp
        # The fewest ports of those that deliver a step of weights soonest.
        ports = min(
            (p for p in _PORTS if p <= board.weight_ports),
            key=lambda p: ceil_div(rows * depth, ATOMS_PER_WORD * p),
        )
    try:
        return AcceleratorConfig(
            mac=mac,
            drain_rows=2 if mac == "rtl" and rows % _PAIRED_ROWS == 0 else 1,
            tile_tokens=tokens,
            tile_rows=rows,
            tile_depth=depth,
            activation_bits=bits,
            dsp_rows=rows // per_dsp * per_dsp if dsp_rows is None else dsp_rows,
            weight_ports=ports,
            activation_depth=1,
            digit_depth=1,
            wide_depth=1,
            weight_depth=1,
            max_row_tiles=1,
            table_bits=0,
            max_tokens=1,
            max_channels=1,
            image_pixels=image_pixels(graph, depth),
            accumulator_bits=32,
            softmax=True,
            layer_norm=True,
            mean_tokens=True,
        )
    except ValidationError as error:
        problems = "; ".join(
            ": ".join((*map(str, item["loc"]), item["msg"].removeprefix("Value error, ")))
            for item in error.errors()
        )
        raise QvitError(f"tile {tokens},{rows},{depth} cannot be built: {problems}") from error
