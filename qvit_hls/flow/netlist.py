"""Reading a netlist that Yosys mapped to UltraScale+ primitives: its cells, and its longest path in LUTs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import Any

from qvit_hls.errors import QvitError

#: LUT sites of a memory or shift register made of LUTs.
_LUT_MEMORIES = {
    "RAM32M": 4,
    "RAM32M16": 8,
    "RAM32X1D": 2,
    "RAM32X1S": 1,
    "RAM64M": 4,
    "RAM64M8": 8,
    "RAM64X1D": 2,
    "RAM64X1S": 1,
    "RAM64X8SW": 8,
    "RAM128X1D": 4,
    "RAM128X1S": 2,
    "RAM256X1D": 8,
    "RAM256X1S": 4,
    "RAM512X1S": 8,
}
_SHIFT_REGISTERS = {"SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1}
_LUTS = ("LUT1", "LUT2", "LUT3", "LUT4", "LUT5", "LUT6", "LUT6_2", "INV")
_FLIP_FLOPS = ("FDRE", "FDSE", "FDCE", "FDPE", "LDCE", "LDPE")
_BLOCK_RAMS = {"RAMB36E2": 1.0, "RAMB18E2": 0.5}
_ULTRA_RAMS = ("URAM288", "URAM288_BASE")
_MULTIPLEXERS = ("MUXF7", "MUXF8", "MUXF9")
_FREE = ("GND", "VCC", "BUFG", "$scopeinfo")

#: A Yosys module: ports, cells, netnames.
Module = Mapping[str, Any]
#: A net: Yosys numbers them; constants are strings.
Net = int | str


@dataclass(frozen=True)
class Cells:
    """What a design takes.

    Attributes:
        lut: LUTs of logic: LUT1 to LUT6, dual LUTs (one each) and inverters that no LUT absorbed.
        srl: LUTs used as shift registers.
        lutram: LUTs used as memory.
        ff: registers (and latches).
        dsp: DSP48E2 slices.
        bram36: block RAMs of 36 Kbit; one of 18 Kbit is half.
        uram: UltraRAMs.
        carry8: carry chains, in groups of 8 bits.
        muxf: wide multiplexers of a slice (MUXF7 to MUXF9).
    """

    lut: int
    srl: int
    lutram: int
    ff: int
    dsp: int
    bram36: float
    uram: int
    carry8: int
    muxf: int


@dataclass(frozen=True)
class LogicPath:
    """The path with most LUTs between registers, memories, DSP slices and ports.

    Attributes:
        luts: LUTs on it, LUT memories that are read included.
        carries: carry chains on it, however long.
        dsps: multipliers without registers on it.
    """

    luts: int
    carries: int
    dsps: int


def count_cells(modules: Mapping[str, Module], top: str) -> Cells:
    """Cells of ``top`` and all modules in it.

    Raises:
        QvitError: cells of types that are not counted anywhere, all named: part of the design is missing.
    """
    types = _cell_types(modules, top, {})
    carry8 = types.pop("CARRY8", 0) + -(-types.pop("CARRY4", 0) // 2)
    known = {*_LUTS, *_LUT_MEMORIES, *_SHIFT_REGISTERS, *_FLIP_FLOPS, *_BLOCK_RAMS, *_ULTRA_RAMS}
    known |= {*_MULTIPLEXERS, *_FREE, "DSP48E2"}
    unknown = sorted(set(types) - known)
    if unknown:
        raise QvitError(
            f"The netlist of {top} has cells {', '.join(unknown)}, which are no primitives of UltraScale+ "
            "that are counted here. Hand in the sources of all modules."
        )
    return Cells(
        lut=sum(types[name] for name in _LUTS),
        srl=sum(types[name] * sites for name, sites in _SHIFT_REGISTERS.items()),
        lutram=sum(types[name] * sites for name, sites in _LUT_MEMORIES.items()),
        ff=sum(types[name] for name in _FLIP_FLOPS),
        dsp=types["DSP48E2"],
        bram36=sum(types[name] * size for name, size in _BLOCK_RAMS.items()),
        uram=sum(types[name] for name in _ULTRA_RAMS),
        carry8=carry8,
        muxf=sum(types[name] for name in _MULTIPLEXERS),
    )


def lut_memory_sites(kind: str) -> int:
    """LUT sites of a cell of this type; 0 if it is no memory made of LUTs."""
    return _LUT_MEMORIES.get(kind, 0)


def count_parts(modules: Mapping[str, Module], top: str) -> dict[str, Cells]:
    """Cells of each module directly in ``top``, and under the name of ``top`` what is in none of them.

    Instances of one module count together; the name of a module ends before a ``$``, behind which slang
    writes its place.

    Raises:
        QvitError: cells of types that are not counted anywhere.
    """
    instances = [cell["type"] for cell in modules[top]["cells"].values() if _is_design(modules, cell["type"])]
    parts: dict[str, Cells] = {}
    for kind in instances:
        name, cells = kind.split("$")[0], count_cells(modules, kind)
        parts[name] = _add(parts[name], cells) if name in parts else cells
    rest = {name: cell for name, cell in modules[top]["cells"].items() if cell["type"] not in instances}
    return parts | {top: count_cells({**modules, top: {**modules[top], "cells": rest}}, top)}


def _add(first: Cells, second: Cells) -> Cells:
    return Cells(*(a + b for a, b in zip(astuple(first), astuple(second), strict=True)))


def _cell_types(modules: Mapping[str, Module], top: str, done: dict[str, Counter[str]]) -> Counter[str]:
    if top not in done:
        types: Counter[str] = Counter()
        for cell in modules[top]["cells"].values():
            kind = cell["type"]
            types.update(_cell_types(modules, kind, done) if _is_design(modules, kind) else {kind: 1})
        done[top] = types
    return done[top]


def _is_design(modules: Mapping[str, Module], kind: str) -> bool:
    # Yosys writes its library's primitives as modules too.
    attributes = modules[kind]["attributes"] if kind in modules else {"blackbox": 1}
    return not any(name in attributes for name in ("blackbox", "whitebox", "abc9_box", "abc9_lut"))


def longest_path(module: Module) -> LogicPath:
    """The longest path of a flat module; of several with equally many LUTs one with most carry chains.

    A LUT's output depends on an input where its contents say so, a bit of a carry chain on the bits below.

    Raises:
        QvitError: a loop of logic without a register.
    """
    arcs: dict[Net, list[tuple[Net, tuple[int, int, int]]]] = {}
    for cell in module["cells"].values():
        for source, target, weight in _arcs(cell):
            if isinstance(source, int) and isinstance(target, int):
                arcs.setdefault(target, []).append((source, weight))
    longest: dict[Net, tuple[int, int, int]] = {}
    for net in arcs:
        _settle(net, arcs, longest)
    return LogicPath(*max(longest.values(), default=(0, 0, 0)))


def _settle(
    start: Net,
    arcs: Mapping[Net, list[tuple[Net, tuple[int, int, int]]]],
    longest: dict[Net, tuple[int, int, int]],
) -> None:
    """Depth-first, with a stack of its own: carry chains are deeper than Python's."""
    stack = [start]
    opened: set[Net] = set()
    while stack:
        net = stack[-1]
        if net in longest:
            stack.pop()
            continue
        waiting = [source for source, _ in arcs.get(net, ()) if source not in longest]
        if not waiting:
            longest[net] = max(
                (_sum(longest[source], weight) for source, weight in arcs.get(net, ())), default=(0, 0, 0)
            )
            opened.discard(net)
            stack.pop()
        elif net in opened:
            raise QvitError(f"The netlist has a loop of logic without a register, through net {net}.")
        else:
            opened.add(net)
            stack.extend(waiting)


def _sum(first: tuple[int, int, int], second: tuple[int, int, int]) -> tuple[int, int, int]:
    return (first[0] + second[0], first[1] + second[1], first[2] + second[2])


def _arcs(cell: Mapping[str, Any]) -> Iterator[tuple[Net, Net, tuple[int, int, int]]]:
    """What a cell's outputs depend on within a clock cycle, each with LUTs, carry chains and multipliers."""
    kind, pins = cell["type"], cell["connections"]
    if kind in _LUTS:
        yield from _lut_arcs(cell)
    elif kind in ("CARRY8", "CARRY4"):
        yield from _carry_arcs(pins)
    elif kind in _MULTIPLEXERS:
        for pin in ("I0", "I1", "S"):
            yield pins[pin][0], pins["O"][0], (0, 0, 0)
    elif kind in _LUT_MEMORIES or kind in _SHIFT_REGISTERS:
        outputs = [name for name in pins if cell["port_directions"][name] == "output"]
        for name in pins:
            if name.startswith(("A", "DPRA", "ADDR")) and name not in outputs:
                yield from ((s, t, (1, 0, 0)) for s in pins[name] for out in outputs for t in pins[out])
    elif kind == "DSP48E2" and not any(_parameter(cell, name) for name in ("AREG", "MREG", "PREG")):
        yield from ((s, t, (0, 0, 1)) for pin in "ABCD" for s in pins.get(pin, ()) for t in pins["P"])


def _lut_arcs(cell: Mapping[str, Any]) -> Iterator[tuple[Net, Net, tuple[int, int, int]]]:
    kind, pins = cell["type"], cell["connections"]
    if kind == "INV":
        yield pins["I"][0], pins["O"][0], (1, 0, 0)
        return
    inputs = 6 if kind == "LUT6_2" else int(kind[3])
    init = _parameter(cell, "INIT")
    nets = [pins[f"I{i}"][0] for i in range(inputs)]
    halves = {"O6": (6, init), "O5": (5, init & 0xFFFFFFFF)} if kind == "LUT6_2" else {"O": (inputs, init)}
    for output, (used, contents) in halves.items():
        for i in range(used if pins.get(output) else 0):
            if _depends(contents, used, i, nets):
                yield nets[i], pins[output][0], (1, 0, 0)


def _depends(contents: int, inputs: int, index: int, nets: list[Net]) -> bool:
    """Whether a LUT's output can change with one input, the constant ones given."""
    for address in range(1 << inputs):
        given = (nets[i] == str(address >> i & 1) for i in range(inputs) if nets[i] in ("0", "1"))
        if all(given) and contents >> address & 1 != contents >> (address ^ 1 << index) & 1:
            return True
    return False


def _carry_arcs(pins: Mapping[str, list[Net]]) -> Iterator[tuple[Net, Net, tuple[int, int, int]]]:
    """Bit i of O depends on S[0..i], DI[0..i-1] and the carry in; of CO, on DI[i] too."""
    width = len(pins["S"])
    carry_in = [net for pin in ("CI", "CYINIT") for net in pins.get(pin, ())]
    sums, carries = pins.get("O", []), pins.get("CO", [])
    for i in range(width):
        below = [*pins["S"][: i + 1], *carry_in]
        if i < len(sums):
            yield from ((net, sums[i], (0, 1, 0)) for net in (*below, *pins["DI"][:i]))
        if i < len(carries):
            # Counted where the chain is left, not where it goes on.
            yield from ((net, carries[i], (0, 0, 0)) for net in (*below, *pins["DI"][: i + 1]))


def _parameter(cell: Mapping[str, Any], name: str) -> int:
    """A parameter's value; Yosys writes them as binary digits."""
    return int(str(cell["parameters"].get(name, "0")).replace("x", "0").replace("z", "0") or "0", 2)
