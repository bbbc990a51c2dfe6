"""Cycles by row widths: those of the network scheduled with these widths, to the cycle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from models import compiled

from qvit_hls.hw.accelerator import Mac
from qvit_hls.hw.board import load_board
from qvit_hls.hw.cycles import estimate, most_cycles
from qvit_hls.hw.explore.configuration import complete, unsized
from qvit_hls.hw.row_cost import RowCost, with_all_row_tiles
from qvit_hls.hw.schedule import schedule
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.integer_ops import IntegerLinear
from qvit_hls.ir.passes.group_row_precisions import group_row_precisions
from qvit_hls.nets.config import BlockConfig, VitConfig

BOARD = load_board("zcu104")
GRAPH = compiled(
    VitConfig(
        image_size=12,
        channels=1,
        patch_size=4,
        classes=3,
        embed_dim=30,
        blocks=(BlockConfig(heads=2, head_dim=13, mlp_hidden=42),) * 2,
        eight_bit_share=0,
    )
)


def with_widths(graph: Graph, widths: dict[str, np.ndarray]) -> Graph:
    changed = [
        replace(node, op=replace(node.op, row_bits=widths[node.name])) if node.name in widths else node
        for node in graph
    ]
    return group_row_precisions(graph.with_nodes(changed))


def linears(graph: Graph) -> dict[str, int]:
    return {node.name: len(node.op.weight) for node in graph if isinstance(node.op, IntegerLinear)}


@pytest.mark.parametrize("tile", [(8, 8, 4), (10, 12, 2), (4, 20, 4)])
@pytest.mark.parametrize(
    ("mac", "drain_rows", "clock_mhz"), [("hls", 1, 1900), ("rtl", 1, 1900), ("rtl", 2, 200)]
)
def test_cycles_are_those_of_the_network_scheduled_with_these_widths(
    mac: Mac, drain_rows: int, clock_mhz: float, tile: tuple[int, int, int]
) -> None:
    config = complete(GRAPH, unsized(GRAPH, mac, tile, drain_rows=drain_rows)).config
    config = with_all_row_tiles(GRAPH, config)
    cost = RowCost(GRAPH, schedule(GRAPH, config), BOARD, clock_mhz)
    generator = np.random.default_rng(0)
    frames = []
    for share in (0, 0.1, 0.3, 0.3, 0.5, 0.9, 1):
        widths = {
            name: np.where(generator.random(rows) < share, 8, 4).astype(np.uint8)
            for name, rows in linears(GRAPH).items()
        }
        program = schedule(with_widths(GRAPH, widths), config)
        frames.append(cost.frame_cycles(widths))
        assert frames[-1] == estimate(program, BOARD, clock_mhz).cycles
    assert frames[0] == cost.four_bit_cycles == cost.limit
    assert frames[-1] > frames[0]


def test_own_cycles_grow_at_the_ends_of_tiles() -> None:
    """42 rows in tiles of 8 leave 6 places; with two rows drained at a time an odd row takes two."""
    for drain_rows, free in ((1, 6), (2, 6)):
        config = complete(GRAPH, unsized(GRAPH, "rtl", (8, 8, 4), drain_rows=drain_rows)).config
        cost = RowCost(GRAPH, schedule(GRAPH, with_all_row_tiles(GRAPH, config)), BOARD, 200)
        (name,) = [name for name, rows in linears(GRAPH).items() if rows == 42 and "blocks.0" in name]
        own = cost.own_cycles(name)
        assert len(own) == 43
        assert own[free + 2] > own[free]
        assert own[free] - own[0] < (own[free + 2] - own[free]) / 2
        # Every tile of four 8-bit rows takes as many slots as one of eight 4-bit rows.
        assert own[42] > 1.5 * own[0]


def test_an_accelerator_that_exists_has_only_its_row_tiles() -> None:
    config = complete(GRAPH, unsized(GRAPH, "hls", (8, 8, 4))).config
    cost = RowCost(GRAPH, schedule(GRAPH, config), BOARD, 200)
    for name, rows in linears(GRAPH).items():
        own = cost.own_cycles(name)
        parts = cost.parts(name)
        assert parts == (2 if name.endswith(".v") else 1)
        most = 8 * config.max_row_tiles - rows // parts
        assert len(own) == min(most, rows // parts) + 1


def test_a_rate_that_cycles_give_allows_these_cycles() -> None:
    for clock_mhz in (100.0, 187.5, 300.0, 333.33):
        for cycles in [*range(1, 3000), 137_108, 1_607_653]:
            assert most_cycles(clock_mhz, clock_mhz * 1e6 / cycles) == cycles
            assert most_cycles(clock_mhz, clock_mhz * 1e6 / (cycles + 0.5)) == cycles
