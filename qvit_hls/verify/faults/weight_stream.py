"""Finding things in a packed weight stream, the inverse of ``codegen/stream.py``.

Offsets count bytes of the whole stream, before its words are dealt out to the ports. Rows are in streaming
order (two-digit rows first), columns as the activation memory holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qvit_hls.codegen.stream import WORD_BYTES
from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.hw.gemm_timing import PARAMETER_BITS, RowTile, ceil_div, round_up, row_tiles

#: Lowest bit and width of each of a row's parameters in its 64 bits.
PARAMETER_FIELDS = {"bias": (0, 30), "multiplier": (30, 16), "shift": (46, 6), "channel": (52, 12)}


@dataclass(frozen=True)
class _Tile:
    """Where one row tile's parameters and digits start, and bytes per step of T_k columns."""

    rows: RowTile
    parameters: int
    digits: int
    step_bytes: int


class WeightStream:
    """The stream of one project, with the place of everything in it."""

    def __init__(
        self,
        ports: Sequence[bytes],
        layers: Sequence[tuple[str, str, Mapping[str, int]]],
        config: AcceleratorConfig,
    ) -> None:
        """Join the ports and walk through the layers.

        Args:
            ports: contents of ``weights<port>.bin``.
            layers: name, unit and descriptor fields of each layer.

        Raises:
            ValueError: the stream is longer or shorter than the layers say.
        """
        words = [np.frombuffer(port, np.uint8).reshape(-1, WORD_BYTES) for port in ports]
        self.content = np.stack(words, axis=1).tobytes()
        self._config = config
        self._beat = config.beat_bits // 8
        self._tables: dict[str, int] = {}
        self._constants: dict[str, int] = {}
        self._tiles: dict[str, list[_Tile]] = {}
        at = 0
        for name, unit, words_of in layers:
            at = self._walk(at, name, unit, words_of)
        if at != len(self.content):
            raise ValueError(f"the weight stream has {len(self.content)} bytes, the program reads {at}")

    def _walk(self, at: int, name: str, unit: str, d: Mapping[str, int]) -> int:
        config = self._config
        if d["table_entries"]:
            self._tables[name] = at
            at += round_up(d["table_entries"], self._beat)
        if unit == "load_residual":
            self._constants[name] = at
            at += ceil_div(d["tokens"], config.tile_tokens) * d["k"] * self._lane_bytes
        if unit == "gemm" and not d["digit_source"]:
            self._tiles[name] = []
            for tile in row_tiles(d["rows"], d["rows8"], config.tile_rows):
                digits = at + round_up(tile.rows * PARAMETER_BITS // 8, self._beat)
                step_bytes = round_up(tile.atoms * config.tile_depth // 2, self._beat)
                self._tiles[name].append(_Tile(tile, at, digits, step_bytes))
                at = digits + d["k_steps"] * step_bytes
        return at

    @property
    def _lane_bytes(self) -> int:
        return round_up(2 * self._config.tile_tokens, self._beat)

    def tiles(self, layer: str) -> list[RowTile]:
        """Row tiles of a layer whose weights are streamed."""
        return [tile.rows for tile in self._tiles[layer]]

    def parameters(self, layer: str, row: int) -> int:
        """Offset of a row's 64 bits of parameters."""
        tile = self._tile(layer, row)
        return tile.parameters + (row - tile.rows.first_row) * PARAMETER_BITS // 8

    def parameter(self, layer: str, row: int, name: str) -> int:
        """One parameter of a row, as an unsigned field."""
        low, width = PARAMETER_FIELDS[name]
        at = self.parameters(layer, row)
        return int.from_bytes(self.content[at : at + 8], "little") >> low & ((1 << width) - 1)

    def atom(self, layer: str, row: int, column: int, digit: int = 0) -> tuple[int, int]:
        """Offset and lowest bit (0 or 4) of a digit: 0 the high or only one, 1 the low one."""
        tile = self._tile(layer, row)
        depth, local = self._config.tile_depth, row - tile.rows.first_row
        line = 2 * local + digit if local < tile.rows.rows8 else tile.rows.rows8 + local
        nibble = line * depth + column % depth
        return tile.digits + column // depth * tile.step_bytes + nibble // 2, nibble % 2 * 4

    def table_entry(self, layer: str, entry: int) -> int:
        """Offset of a byte of the table that precedes a layer."""
        return self._tables[layer] + entry

    def constant(self, layer: str, token: int, channel: int, channels: int) -> int:
        """Offset of a 16-bit code of the residual stream's constant part."""
        lanes = self._config.tile_tokens
        row = token // lanes * channels + channel
        return self._constants[layer] + row * self._lane_bytes + 2 * (token % lanes)

    def ports(self, content: bytes) -> list[bytes]:
        """Deal changed contents out to the ports again."""
        words = np.frombuffer(content, np.uint8).reshape(-1, self._config.weight_ports, WORD_BYTES)
        return [words[:, port].tobytes() for port in range(self._config.weight_ports)]

    def _tile(self, layer: str, row: int) -> _Tile:
        return next(tile for tile in self._tiles[layer] if row < tile.rows.first_row + tile.rows.rows)
