"""The memory behind an accelerator's AXI ports: regions of bytes, and a record of what was done with them."""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field

_SHOWN = 8


@dataclass
class Region:
    """Bytes at an address.

    Attributes:
        start: address of the first byte.
        content: the bytes.
        writable: whether the accelerator may write them.
        moved: bytes read and written so far.
    """

    start: int
    content: bytearray
    writable: bool = False
    moved: int = 0

    @property
    def end(self) -> int:
        """Address behind the last byte."""
        return self.start + len(self.content)


@dataclass
class AxiMemory:
    """Regions by name; what touches anything else is recorded and otherwise without effect.

    Read and write are what ``cocotbext.axi.AxiSlave`` calls for its target.

    Attributes:
        violations: sentences about accesses outside the regions, the first few.
        violation_count: how many there were.
    """

    regions: Mapping[str, Region]
    violations: list[str] = field(default_factory=list)
    violation_count: int = 0
    _starts: list[int] = field(init=False)
    _ordered: list[Region] = field(init=False)

    def __post_init__(self) -> None:
        self._ordered = sorted(self.regions.values(), key=lambda region: region.start)
        self._starts = [region.start for region in self._ordered]

    @property
    def moved(self) -> int:
        """Bytes read and written so far."""
        return sum(region.moved for region in self._ordered)

    async def read(self, address: int, length: int) -> bytes:
        """Bytes of one beat; zeros where there is no region."""
        region = self._at(address)
        # A beat may be wider than what is left of a region, as on a board, but not begin behind it.
        if region is None:
            self._violation(f"read {length} bytes at {address:#x}, where nothing lies")
            return bytes(length)
        offset = address - region.start
        data = bytes(region.content[offset : offset + length])
        region.moved += len(data)
        return data + bytes(length - len(data))

    async def write(self, address: int, data: bytes) -> None:
        """The bytes of a beat that its strobe names."""
        region = self._at(address)
        if region is None or not region.writable or address + len(data) > region.end:
            self._violation(
                f"wrote {len(data)} bytes at {address:#x}, which is not all in the result or the trace"
            )
            return
        offset = address - region.start
        region.content[offset : offset + len(data)] = data
        region.moved += len(data)

    def _at(self, address: int) -> Region | None:
        index = bisect.bisect_right(self._starts, address) - 1
        region = self._ordered[index] if index >= 0 else None
        return region if region is not None and address < region.end else None

    def _violation(self, sentence: str) -> None:
        self.violation_count += 1
        if len(self.violations) < _SHOWN:
            self.violations.append(sentence)
