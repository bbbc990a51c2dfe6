"""The accelerator that gen builds: the one that the exploration chooses, or the tile that the user wants."""

from __future__ import annotations

from qvit_hls.errors import QvitError
from qvit_hls.hw.accelerator import ATOMS_PER_WORD, DSP_LANES, AcceleratorConfig, Mac
from qvit_hls.hw.board import Board
from qvit_hls.hw.explore.candidates import PAIRED_ROWS, WEIGHT_PORTS
from qvit_hls.hw.explore.configuration import complete, unsized
from qvit_hls.hw.explore.cost import RESOURCE_WORDS, RESOURCES, costs
from qvit_hls.hw.explore.explore import explore
from qvit_hls.hw.gemm_timing import ceil_div
from qvit_hls.hw.program import Program
from qvit_hls.ir.graph import Graph


def choose_accelerator(
    graph: Graph,
    board: Board,
    tile: tuple[int, int, int] | None = None,
    mac: Mac = "hls",
    clock_mhz: float | None = None,
    max_cycles: int | None = None,
) -> Program:
    """The program of a model on the accelerator chosen for it.

    Args:
        tile: T_n, T_m and T_k, when the caller has chosen them.
        mac: what the engine is made of.
        clock_mhz: of the accelerator; the board's where there is none.
        max_cycles: per frame; then the smallest accelerator that needs no more is chosen.

    Raises:
        QvitError: nothing fits the board, nothing on it is fast enough, or the wanted tile is not
            buildable.
    """
    if tile is not None:
        return _wanted(graph, board, mac, tile)
    clock = board.clock_mhz if clock_mhz is None else clock_mhz
    target_fps = None if max_cycles is None else clock * 1e6 / max_cycles
    return explore([graph], board, clock, mac, target_fps, fastest_only=True).programs[0]


def _wanted(graph: Graph, board: Board, mac: Mac, tile: tuple[int, int, int]) -> Program:
    """The program on a tile, with as many rows on DSP lanes as the board has DSP slices for."""
    tokens, rows, depth = tile
    drain_rows = 2 if mac == "rtl" and rows % PAIRED_ROWS == 0 else 1
    bare = complete(graph, unsized(graph, mac, tile, drain_rows=drain_rows)).config
    bits = bare.activation_bits
    left = max(0, board.usable_of("dsp") - _costs(bare)["dsp"])
    most = min(rows, left * DSP_LANES[bits] // (tokens * depth))
    rows_per_dsp = 3 if bits == 8 else 2
    # The fewest ports of those that deliver a step of weights soonest.
    ports = min(
        (p for p in WEIGHT_PORTS if p <= board.weight_ports),
        key=lambda p: ceil_div(rows * depth, ATOMS_PER_WORD * p),
    )
    config = unsized(
        graph,
        mac,
        tile,
        activation_bits=bits,
        dsp_rows=most // rows_per_dsp * rows_per_dsp,
        weight_ports=ports,
        drain_rows=drain_rows,
    )
    program = complete(graph, config)
    _check_board(program.config, board)
    return program


def _check_board(config: AcceleratorConfig, board: Board) -> None:
    """Refuse a tile that is larger than the whole board; the counts are estimates, so no margin is asked."""
    lacks = [
        f"about {need:,} {RESOURCE_WORDS[resource]} of {getattr(board, resource):,}"
        for resource, need in _costs(config).items()
        if need > getattr(board, resource)
    ]
    if lacks:
        tile = f"{config.tile_tokens},{config.tile_rows},{config.tile_depth}"
        raise QvitError(f"tile {tile} does not fit {board.name}: it takes {'; '.join(lacks)}")


def _costs(config: AcceleratorConfig) -> dict[str, int]:
    return dict(zip(RESOURCES, costs(config.model_dump()).tolist(), strict=True))
