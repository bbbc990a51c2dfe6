"""Reading of mapped netlists, and the area of the MAC tile's building blocks by synthesis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qvit_hls.errors import QvitError
from qvit_hls.flow import synthesis
from qvit_hls.flow.netlist import LogicPath, count_cells, count_parts, longest_path
from qvit_hls.flow.synthesis import synthesize
from qvit_hls.hw.accelerator import DSP_LANES

_MAC = Path(synthesis.__file__).parents[1] / "hls_kernels" / "rtl" / "mac"


def mac_sources() -> list[Path]:
    apart = ("mac_pkg.sv", "mac_functional.sv")
    return [_MAC / "mac_pkg.sv", *sorted(path for path in _MAC.glob("*.sv") if path.name not in apart)]


def cell(kind: str, parameters: dict[str, str] | None = None, **pins: list[int | str] | int | str) -> Any:
    """A cell; pins called O, O5, O6, CO and Q are outputs."""
    connections = {name: nets if isinstance(nets, list) else [nets] for name, nets in pins.items()}
    outputs = ("O", "O5", "O6", "CO", "Q")
    directions = {name: "output" if name in outputs else "input" for name in connections}
    return {
        "type": kind,
        "parameters": parameters or {},
        "connections": connections,
        "port_directions": directions,
    }


def module(*cells: Any) -> Any:
    return {"attributes": {}, "cells": dict(enumerate(cells))}


def init(bits: int, function: Any) -> dict[str, str]:
    """Contents of a LUT: one bit for each address."""
    return {"INIT": "".join(str(int(function(address))) for address in reversed(range(1 << bits)))}


def test_cells_are_counted_through_modules() -> None:
    leaf = module(cell("LUT6_2"), cell("FDRE"), cell("FDRE"), cell("RAM32M16"))
    top = module(
        cell("leaf"), cell("leaf"), cell("SRL16E"), cell("DSP48E2"), cell("RAMB18E2"), cell("CARRY4")
    )
    cells = count_cells({"leaf": leaf, "top": top, "FDRE": {"attributes": {"blackbox": "1"}}}, "top")
    assert (cells.lut, cells.ff, cells.lutram, cells.srl) == (2, 4, 16, 1)
    assert (cells.dsp, cells.bram36, cells.carry8) == (1, 0.5, 1)


def test_parts_of_a_design_are_counted_one_by_one_and_the_rest_under_its_own_name() -> None:
    modules = {
        "adder$top.a": module(cell("LUT2"), cell("FDRE")),
        "adder$top.b": module(cell("LUT2"), cell("deep$top.b.c")),
        "deep$top.b.c": module(cell("DSP48E2")),
        "other$top.d": module(cell("RAMB36E2")),
        "top": module(cell("adder$top.a"), cell("adder$top.b"), cell("other$top.d"), cell("SRL16E")),
    }
    parts = count_parts(modules, "top")
    assert list(parts) == ["adder", "other", "top"]
    assert (parts["adder"].lut, parts["adder"].ff, parts["adder"].dsp) == (2, 1, 1)
    assert (parts["other"].bram36, parts["other"].lut) == (1, 0)
    assert (parts["top"].srl, parts["top"].lut, parts["top"].dsp) == (1, 0, 0)


def test_a_missing_module_is_no_cell() -> None:
    with pytest.raises(QvitError, match="The netlist of top has cells layer_norm, which are no primitives"):
        count_cells({"top": module(cell("layer_norm"))}, "top")


def test_a_lut_counts_only_towards_inputs_that_it_depends_on() -> None:
    first = cell("LUT1", init(1, lambda a: a), I0=1, O=2)
    ignores = cell("LUT2", init(2, lambda a: a >> 1 & 1), I0=2, I1=1, O=3)
    assert longest_path(module(first, ignores)) == LogicPath(1, 0, 0)
    takes = cell("LUT2", init(2, lambda a: a == 3), I0=2, I1=1, O=3)
    assert longest_path(module(first, takes)) == LogicPath(2, 0, 0)


def test_the_lower_half_of_a_dual_lut_does_not_see_the_upper_halfs_inputs() -> None:
    # As in a ternary adder: O5 is a function of I0 alone, O6 of I0 and I3.
    contents = init(6, lambda a: (a ^ a >> 3) & 1 if a >> 5 & 1 else a & 1)
    pins = {"I1": "0", "I2": "0", "I4": "0", "I5": "1"}
    chain = [cell("LUT6_2", contents, I0=10 + i, I3=20 + i, O5=21 + i, O6=30 + i, **pins) for i in range(6)]
    assert longest_path(module(*chain)) == LogicPath(2, 0, 0)


def test_a_carry_chain_is_no_lut_and_its_bits_depend_on_lower_ones() -> None:
    late = cell("LUT1", init(1, lambda a: a), I0=1, O=2)
    later = cell("LUT1", init(1, lambda a: a), I0=2, O=3)
    # The latest input is the highest bit's, whose own sum it reaches, and no carry below.
    carry = cell("CARRY8", CI="0", S=[4, 5, 3], DI=[6, 7, 8], O=[9, 10, 11], CO=[12, 13, 14])
    after = cell("LUT1", init(1, lambda a: a), I0=13, O=15)
    assert longest_path(module(late, later, carry, after)) == LogicPath(2, 1, 0)
    after = cell("LUT1", init(1, lambda a: a), I0=14, O=15)
    assert longest_path(module(late, later, carry, after)) == LogicPath(3, 0, 0)


def test_registers_end_paths_and_loops_are_reported() -> None:
    inverter = init(1, lambda a: not a)
    assert longest_path(module(cell("LUT1", inverter, I0=1, O=2), cell("FDRE", D=2, Q=1))) == LogicPath(
        1, 0, 0
    )
    with pytest.raises(QvitError, match="loop of logic without a register"):
        longest_path(module(cell("LUT1", inverter, I0=1, O=2), cell("LUT1", inverter, I0=2, O=1)))


def test_without_yosys_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "package_folder", lambda name: None)
    monkeypatch.setattr(synthesis, "find_yosys", lambda: None)
    with pytest.raises(
        QvitError, match=r"Yosys, which .* was not found. Install it with: pip install yowasp"
    ):
        synthesize(mac_sources(), "mac_tile")


def test_problems_with_sources_are_all_reported(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a.sv").write_text("")
    (tmp_path / "a" / "a.sv").write_text("")
    with pytest.raises(QvitError) as caught:
        synthesize([tmp_path / "a.sv", tmp_path / "a" / "a.sv", tmp_path / "b.sv"], "top")
    assert len(caught.value.problems) == 2


def test_what_yosys_says_is_passed_on(tmp_path: Path) -> None:
    (tmp_path / "wrong.sv").write_text("module top(output logic y); assign y = ; endmodule\n")
    with pytest.raises(QvitError, match=r"(?s)Yosys could not synthesize top. It said:.*ERROR"):
        synthesize([tmp_path / "wrong.sv"], "top")


def slow(*values: object) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(("bits", "most"), [slow(6, 4.5), (7, 7.5), slow(8, 14.0)])
def test_a_dsp_blocks_lanes_cost_few_luts(tmp_path: Path, bits: int, most: float) -> None:
    lanes = 3 if bits == 8 else 4
    parameters = {"A": bits, "T_K": 8, "SUM_BITS": 21}
    result = synthesize(mac_sources(), "mac_dsp_block", parameters, cache=tmp_path)
    assert result.cells.dsp == 8 and lanes == DSP_LANES[bits]
    assert 0 < result.cells.lut / (8 * lanes) < most - 0.5  # packing is outside the block
    assert result.path is not None and result.path.luts == 2  # LUT to LUT in a ternary adder
    assert synthesize(mac_sources(), "mac_dsp_block", parameters, cache=tmp_path) == result


@pytest.mark.parametrize(("bits", "most"), [slow(7, 40.0), (8, 45.0)])
def test_lut_lanes_cost_few_luts(bits: int, most: float) -> None:
    result = synthesize(mac_sources(), "mac_lut_lane", {"A": bits, "T_K": 8, "SUM_BITS": 21})
    assert result.cells.dsp == 0
    assert 10 < result.cells.lut / 8 < most - 5  # delays are outside the lane


def test_modules_apart_keep_their_borders_and_primitives_are_no_part_of_the_design(tmp_path: Path) -> None:
    """Two inverters in a row are none, unless each is a module apart; a primitive's model adds nothing."""
    (tmp_path / "LUT6.sv").write_bytes((_MAC.parent / "primitives" / "LUT6.sv").read_bytes())
    (tmp_path / "top.sv").write_text(
        "module invert(input logic a, output logic y); assign y = ~a; endmodule\n"
        "module top(input logic a, input logic [5:0] i, output logic y, output logic o);\n"
        "  logic b;\n"
        "  invert first(.a(a), .y(b));\n"
        "  invert second(.a(b), .y(y));\n"
        "  LUT6 #(.INIT(64'h8000_0000_0000_0001)) lut(.O(o), .I0(i[0]), .I1(i[1]), .I2(i[2]), .I3(i[3]),\n"
        "    .I4(i[4]), .I5(i[5]));\n"
        "endmodule\n"
    )
    sources, primitives = [tmp_path / "top.sv"], [tmp_path / "LUT6.sv"]
    whole = synthesize(sources, "top", slang=True, primitives=primitives)
    assert (whole.cells.lut, whole.parts) == (1, {})
    apart = synthesize(sources, "top", slang=True, primitives=primitives, apart=("invert",), cache=tmp_path)
    assert {name: cells.lut for name, cells in apart.parts.items()} == {"invert": 2, "top": 1}
    assert apart.path is None
    assert (
        synthesize(sources, "top", slang=True, primitives=primitives, apart=("invert",), cache=tmp_path)
        == apart
    )
