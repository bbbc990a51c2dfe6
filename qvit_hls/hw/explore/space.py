"""The candidates of one or more models on one board, with what each costs and a lower bound of its cycles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from math import lcm
from typing import Any

import numpy as np

from qvit_hls.hw.accelerator import DSP_LANES, AcceleratorConfig, Mac
from qvit_hls.hw.board import Board
from qvit_hls.hw.explore.candidates import PAIRED_ROWS, TILE_DEPTHS, Candidates, tiles
from qvit_hls.hw.explore.cost import RESOURCES, Resource, costs, limits
from qvit_hls.hw.explore.cycles import cycles_per_frame, least_cycles
from qvit_hls.hw.explore.workload import MEMORIES, Workload
from qvit_hls.hw.timing.tiles import Tiles

#: Shares of the DSP slices that tiles are split by; the other rows are on LUT lanes.
_DSP_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
#: Designs up to this much larger than the board are looked at too: they tell what holds the best one back.
HEADROOM = 1.3
#: LUTs of the cheapest lane that is no DSP lane: no tile has more lanes than LUTs for them.
_LEAST_LUT_PER_LANE = 12
_LUT, _DSP, _BRAM = (RESOURCES.index(name) for name in ("lut", "dsp", "bram36"))


def bytes_per_cycle(board: Board, clock_mhz: float) -> float:
    """What the board's memory delivers in a cycle of the accelerator's clock."""
    return board.ddr_gbytes_per_s * 1e3 / clock_mhz


class Space:
    """Every candidate for a set of models, in columns that are as long as ``candidates``.

    Args:
        workloads: the models; one accelerator is to run them all.
        bytes_per_cycle: that the memory behind the weight ports delivers.
    """

    def __init__(self, workloads: Sequence[Workload], board: Board, bytes_per_cycle: float) -> None:
        self.workloads = tuple(workloads)
        self.board = board
        self.bytes_per_cycle = bytes_per_cycle
        self.mac: Mac = workloads[0].mac
        self.activation_bits = max(w.reference.config.activation_bits for w in workloads)
        self.limits = limits(board)
        #: What the candidate takes that comes closest to the board, whether it fits or not; int64 ``[4]``.
        self.closest: np.ndarray | None = None
        self._exact: set[tuple[int, ...]] = set()
        self._fixed = {depth: self._fixed_fields(depth) for depth in TILE_DEPTHS}
        parts = [self._of_depth(depth) for depth in TILE_DEPTHS]
        self.candidates = Candidates.joined([candidates for candidates, _, _ in parts])
        self.depths = np.concatenate([depths for _, depths, _ in parts], axis=1)
        self.needs = np.concatenate([needs for _, _, needs in parts])
        # Which rows are on DSP lanes does not change cycles: those that differ in nothing else are one tile.
        columns = self.candidates.columns()
        tile = np.zeros(len(self.candidates), np.int64)
        for name, column in columns.items():
            if name != "dsp_rows":
                tile = tile * (column.max(initial=0) + 1) + column
        _, self._first_of_tile, self._tile = np.unique(tile, return_index=True, return_inverse=True)
        self._cycles = np.full((len(self._first_of_tile), len(self.workloads)), -1, np.int64)

    @cached_property
    def least_cycles(self) -> np.ndarray:
        """Lower bound of the cycles per frame, int64 ``[n, models]``."""
        least = np.zeros_like(self._cycles)
        for here, tile in self._tiles(self._first_of_tile, self.bytes_per_cycle):
            for model, workload in enumerate(self.workloads):
                least[here, model] = least_cycles(workload, tile)
        return (least + self._image_cycles(self._first_of_tile))[self._tile]

    def cycles(self, index: np.ndarray) -> np.ndarray:
        """Cycles per frame of some candidates, int64 ``[n, models]``; each tile is timed once."""
        tile = np.unique(self._tile[index])
        new = tile[self._cycles[tile, 0] < 0]
        self._cycles[new] = self._cycles_of(self._first_of_tile[new], self.bytes_per_cycle)
        return self._cycles[self._tile[index]]

    def cycles_at(self, index: int, bytes_per_cycle: float, weight_ports: int | None = None) -> np.ndarray:
        """Cycles per frame of one candidate with another memory, int64 ``[models]``.

        Args:
            weight_ports: instead of the candidate's; also more than an accelerator may have.
        """
        return self._cycles_of(np.array([index]), bytes_per_cycle, weight_ports)[0]

    def make_exact(self, index: np.ndarray) -> bool:
        """Replace estimated memory depths by exact ones, for some candidates and all that need the same.

        Returns:
            Whether anything had to be replaced.
        """
        c = self.candidates
        keys = (c.tile_tokens, c.tile_depth, c.image_ahead)
        changed = False
        for key in np.unique(np.stack([column[index] for column in keys], axis=1), axis=0).tolist():
            if tuple(key) in self._exact:
                continue
            self._exact.add(tuple(key))
            tokens, depth, ahead = key
            exact = np.array([w.depths(tokens, depth, bool(ahead)) for w in self.workloads]).max(axis=0)
            same = np.flatnonzero((keys[0] == tokens) & (keys[1] == depth) & (keys[2] == ahead))
            if (self.depths[:, same] != exact[:, None]).any():
                self.depths[:, same] = exact[:, None]
                self.needs[same] = costs(self._columns(c[same], self.depths[:, same]))
                changed = True
        return changed

    def config(self, index: int) -> AcceleratorConfig:
        """One candidate's configuration."""
        here = np.array([index])
        columns = self._columns(self.candidates[here], self.depths[:, here])
        return AcceleratorConfig.model_validate(
            {
                name: value.item() if isinstance(value, np.ndarray) else value
                for name, value in columns.items()
            }
        )

    def _fixed_fields(self, tile_depth: int) -> dict[str, Any]:
        """What all models need at least of the fields that are the same for every tile of a depth."""
        each = [workload.fixed_fields(tile_depth) for workload in self.workloads]
        merged = {
            name: value if isinstance(value, str) else max(fixed[name] for fixed in each)
            for name, value in each[0].items()
        }
        return {**merged, "image_pixels": min(fixed["image_pixels"] for fixed in each)}

    def _of_depth(self, tile_depth: int) -> tuple[Candidates, np.ndarray, np.ndarray]:
        """The candidates of one T_k, their estimated memory depths ``[3, n]``, what they take ``[n, 4]``."""
        room = HEADROOM * self.limits
        lanes = int(room[_DSP] * DSP_LANES[self.activation_bits] + room[_LUT] / _LEAST_LUT_PER_LANE)
        # Also on the smallest board: what the smallest tiles take is what would be enough.
        lanes = max(lanes, lcm(tile_depth, 2) * PAIRED_ROWS * tile_depth)
        longest = max(workload.tokens[-1] for workload in self.workloads)
        bare = tiles(self.mac, tile_depth, longest, lanes, self.board.weight_ports)
        depths = self._estimated(bare)
        needs = costs(self._columns(bare, depths))
        # Where the memories are too small, the next image is not loaded ahead.
        short = needs[:, _BRAM] > self.limits[_BRAM]
        if short.any():
            later = bare[short].replaced(image_ahead=np.zeros(int(short.sum()), np.int64))
            late_depths = self._estimated(later)
            bare = Candidates.joined([bare, later])
            depths = np.concatenate([depths, late_depths], axis=1)
            needs = np.concatenate([needs, costs(self._columns(later, late_depths))])
        self._note_closest(needs)
        # LUT lanes may still become DSP lanes, but these are as many as there are.
        near = self._is_near(needs, ("dsp", "bram36"))
        return self._splits(tile_depth, bare[near], depths[:, near], needs[near])

    def _splits(
        self, tile_depth: int, bare: Candidates, depths: np.ndarray, needs: np.ndarray
    ) -> tuple[Candidates, np.ndarray, np.ndarray]:
        """The tiles with several shares of their rows on DSP lanes, each split once."""
        # What the vector units leave of the DSP slices is for rows.
        left = np.maximum(self.limits[_DSP] - needs[:, _DSP], 0)
        most = left * DSP_LANES[self.activation_bits] // (bare.tile_tokens * tile_depth)
        most = np.minimum(most, bare.tile_rows)
        rows_per_dsp = 3 if self.activation_bits == 8 else 2
        before = np.full(len(bare), -1, np.int64)
        parts = []
        # Fewer DSP lanes take more LUTs: what is too large with many of them is so with few.
        for share in sorted(_DSP_SHARES, reverse=True):
            rows = (most * share).astype(np.int64) // rows_per_dsp * rows_per_dsp
            new = np.flatnonzero(rows != before)
            split = bare[new].replaced(dsp_rows=rows[new])
            takes = costs(self._columns(split, depths[:, new]))
            near = self._is_near(takes, RESOURCES)
            parts.append((split[near], depths[:, new[near]], takes[near]))
            kept = np.ones(len(bare), bool)
            kept[new] = near
            bare, depths, most, before = bare[kept], depths[:, kept], most[kept], rows[kept]
        return (
            Candidates.joined([candidates for candidates, _, _ in parts]),
            np.concatenate([part for _, part, _ in parts], axis=1),
            np.concatenate([part for _, _, part in parts]),
        )

    def excess(self, needs: np.ndarray) -> np.ndarray:
        """The largest share of what the board allows that designs take, float ``[n]``, from ``[n, 4]``."""
        return (needs / np.maximum(self.limits, 1)).max(axis=1)

    def _note_closest(self, needs: np.ndarray) -> None:
        known = needs if self.closest is None else np.concatenate([self.closest[None], needs])
        self.closest = known[self.excess(known).argmin()]

    def _is_near(self, needs: np.ndarray, resources: Sequence[Resource]) -> np.ndarray:
        """Whether designs take at most ``HEADROOM`` times what the board allows of some resources, bool."""
        columns = [RESOURCES.index(resource) for resource in resources]
        return np.asarray(np.all((needs <= HEADROOM * self.limits)[:, columns], axis=1))

    def _estimated(self, candidates: Candidates) -> np.ndarray:
        """Estimated memory depths of candidates of one T_k and one ``image_ahead``."""
        depth, ahead = int(candidates.tile_depth[0]), bool(candidates.image_ahead[0])
        each = [w.estimated_depths(depth, candidates.tile_tokens, ahead) for w in self.workloads]
        return np.maximum.reduce(each)

    def _columns(self, candidates: Candidates, depths: np.ndarray) -> dict[str, Any]:
        """All fields of AcceleratorConfig of candidates of one T_k."""
        tile_depth = int(candidates.tile_depth[0]) if len(candidates) else TILE_DEPTHS[0]
        steps = max(workload.weight_depth(tile_depth) for workload in self.workloads)
        row_tiles = np.maximum.reduce([w.row_tiles(candidates.tile_rows) for w in self.workloads])
        return {
            **self._fixed[tile_depth],
            **candidates.columns(),
            **dict(zip(MEMORIES, depths, strict=True)),
            "activation_bits": self.activation_bits,
            "weight_depth": candidates.weight_depth * steps,
            "max_row_tiles": row_tiles,
        }

    def _tiles(
        self, index: np.ndarray, bytes_per_cycle: float, weight_ports: int | None = None
    ) -> list[tuple[np.ndarray, Tiles]]:
        """Candidates by T_k: positions in ``index``, and what their cycles depend on."""
        result = []
        for depth in TILE_DEPTHS:
            here = np.flatnonzero(self.candidates.tile_depth[index] == depth)
            if len(here):
                chosen = index[here]
                columns = self._columns(self.candidates[chosen], self.depths[:, chosen])
                if weight_ports is not None:
                    columns["weight_ports"] = np.full(len(here), weight_ports, np.int64)
                names = [field.name for field in fields(Tiles) if field.name != "bytes_per_cycle"]
                tile = Tiles(**{name: columns[name] for name in names}, bytes_per_cycle=bytes_per_cycle)
                result.append((here, tile))
        return result

    def _cycles_of(
        self, index: np.ndarray, bytes_per_cycle: float, weight_ports: int | None = None
    ) -> np.ndarray:
        result = np.zeros((len(index), len(self.workloads)), np.int64)
        for here, tile in self._tiles(index, bytes_per_cycle, weight_ports):
            for model, workload in enumerate(self.workloads):
                result[here, model] = cycles_per_frame(workload, tile)
        return result + self._image_cycles(index)

    def _image_cycles(self, index: np.ndarray) -> np.ndarray:
        """Cycles to load the image before a frame, int64 ``[n, models]``; 0 where it is loaded ahead.

        The C++ engine loads it as its first layer.
        """
        late = (self.candidates.image_ahead[index] == 0) & (self.mac == "rtl")
        depths = self.candidates.tile_depth[index]
        result = np.zeros((len(index), len(self.workloads)), np.int64)
        for model, workload in enumerate(self.workloads):
            for depth in np.unique(depths[late]).tolist():
                result[late & (depths == depth), model] = workload.image_cycles(depth)
        return result
