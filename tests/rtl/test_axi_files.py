"""Reading RTL of the whole top: what Vitis HLS writes is understood, and what lacks something is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from axi_project import AXI, CONFIG, render_top
from axi_vitis_text import BUNDLES, control_text, top_text

from qvit_hls.errors import QvitError
from qvit_hls.verify.rtl.axi_memory import AxiMemory, Region
from qvit_hls.verify.rtl.axi_top import read_axi_top

ARGUMENTS = {
    "program_r": 64,
    "layers": 32,
    "weights0": 64,
    "beats": 32,
    "image": 64,
    "image_words": 32,
    "next_image": 64,
    "next_image_words": 32,
    "result": 64,
    "result_words": 32,
    "trace": 64,
    "trace_words": 32,
}
EXAMPLE = "Name the folder with the Verilog that Vitis HLS wrote, such as WORK/hls/syn/verilog."


def write(folder: Path, top: str | None = None, control: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "qvit_top.v").write_text(top_text() if top is None else top)
    (folder / "qvit_top_control_s_axi.v").write_text(control_text(ARGUMENTS) if control is None else control)
    return folder


def test_ports_and_registers_of_vitis_hls_are_found(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "qvit_top_table.dat").write_text("00\n")
    top = read_axi_top(folder, 1)
    assert top.registers == {
        "program": (0x10, 0x14),
        "layers": (0x1C,),
        "weights0": (0x24, 0x28),
        "beats": (0x30,),
        "image": (0x38, 0x3C),
        "image_words": (0x44,),
        "next_image": (0x4C, 0x50),
        "next_image_words": (0x58,),
        "result": (0x60, 0x64),
        "result_words": (0x6C,),
        "trace": (0x74, 0x78),
        "trace_words": (0x80,),
    }
    assert top.bundles == BUNDLES
    assert not top.continues
    assert [path.name for path in top.memories] == ["qvit_top_table.dat"]
    assert [path.name for path in top.design.sources] == ["qvit_top.v", "qvit_top_control_s_axi.v"]


def test_ap_continue_is_found_where_the_core_has_it(tmp_path: Path) -> None:
    assert read_axi_top(write(tmp_path, control=control_text(ARGUMENTS, continues=True)), 1).continues


def test_registers_of_the_own_top_are_those_of_the_comments(tmp_path: Path) -> None:
    top = render_top(CONFIG)
    control = (AXI / "qvit_top_control_s_axi.sv").read_text()
    registers = read_axi_top(write(tmp_path, top, control), 4).registers
    # As Vitis HLS places them: a word of each argument, two of a pointer, and one that is reserved.
    names = ["program", "layers", *(f"weights{p}" for p in range(4)), "beats", "image", "image_words"]
    names += ["next_image", "next_image_words", "result", "result_words", "trace", "trace_words"]
    words = 4
    for name in names:
        count = 2 if len(registers[name]) == 2 else 1
        assert registers[name] == tuple(4 * (words + i) for i in range(count))
        words += count + 1
    assert list(registers) == names


def test_packages_come_first(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "zebra_pkg.sv").write_text("package zebra_pkg;\nendpackage\n")
    assert read_axi_top(folder, 1).design.sources[0].name == "zebra_pkg.sv"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(QvitError) as error:
        read_axi_top(tmp_path / "none", 1)
    assert str(error.value) == f"There is no folder {tmp_path / 'none'}. {EXAMPLE}"


def test_a_folder_without_the_top_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.v").write_text("module other; endmodule\n")
    with pytest.raises(QvitError) as error:
        read_axi_top(tmp_path, 1)
    assert str(error.value) == f"The folder {tmp_path} holds no qvit_top.v or qvit_top.sv. {EXAMPLE}"


def test_two_tops_are_one_too_many(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path / "impl")
    with pytest.raises(QvitError) as error:
        read_axi_top(tmp_path, 1)
    assert str(error.value) == (
        f"The folder {tmp_path} holds qvit_top more than once (impl/qvit_top.v, qvit_top.v). "
        "Name the folder of one of them."
    )


def test_a_file_without_the_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QvitError) as error:
        read_axi_top(write(tmp_path, top="module qvit_topping; endmodule\n"), 1)
    assert str(error.value) == f"{tmp_path / 'qvit_top.v'} does not define the module qvit_top. {EXAMPLE}"


def test_all_that_is_missing_is_listed_at_once(tmp_path: Path) -> None:
    top = top_text(("gmem_program", "gmem_weights0", "gmem_result")).replace("output   interrupt;", "")
    some = {name: 32 for name in ARGUMENTS if name not in ("beats", "trace_words")} | {"result": 64}
    with pytest.raises(QvitError) as error:
        read_axi_top(write(tmp_path, top, control_text(some)), 1)
    image = ["VALID", "READY", "ADDR", "ID", "LEN", "SIZE", "BURST"]
    missing = ["interrupt", *(f"m_axi_gmem_image_AR{name}" for name in image)]
    missing += [f"m_axi_gmem_image_R{name}" for name in ["VALID", "READY", "DATA", "LAST", "ID", "RESP"]]
    assert error.value.problems == (
        f"{tmp_path / 'qvit_top.v'}: the module qvit_top lacks the ports {', '.join(missing)}, which the top "
        "of an accelerator with 1 weight port has. Synthesize src/top.cpp of this project.",
        f"{tmp_path / 'qvit_top_control_s_axi.v'}: the comments do not say where the registers of program, "
        "weights0, image, next_image, trace, beats, trace_words lie (two words for a pointer, one for a "
        "number). Synthesize src/top.cpp of this project.",
    )


def test_a_missing_register_file_is_named(tmp_path: Path) -> None:
    (write(tmp_path) / "qvit_top_control_s_axi.v").unlink()
    with pytest.raises(QvitError) as error:
        read_axi_top(tmp_path, 1)
    assert str(error.value) == (
        f"The folder {tmp_path} holds no qvit_top_control_s_axi.v or qvit_top_control_s_axi.sv, whose "
        "comments say where the registers of qvit_top lie. Vitis HLS writes it beside qvit_top.v."
    )


def test_a_register_file_without_comments_is_refused(tmp_path: Path) -> None:
    control = "module qvit_top_control_s_axi; endmodule\n"
    with pytest.raises(QvitError) as error:
        read_axi_top(write(tmp_path, control=control), 1)
    assert str(error.value) == (
        f"{tmp_path / 'qvit_top_control_s_axi.v'} does not say where the registers lie: it has no "
        "comments such as '// 0x10 : Data signal of program', which Vitis HLS writes. Use the file as Vitis "
        "HLS wrote it."
    )


def test_memory_keeps_what_is_written_and_records_what_must_not_be() -> None:
    memory = AxiMemory(
        {
            "weights0": Region(0x1040, bytearray(range(20))),
            "result": Region(0x2000, bytearray(6), writable=True),
        }
    )
    assert asyncio.run(memory.read(0x1050, 16)) == bytes([16, 17, 18, 19, *[0] * 12])
    asyncio.run(memory.write(0x2002, b"\x01\x02\x03\x04"))
    assert memory.regions["result"].content == b"\0\0\x01\x02\x03\x04"
    assert {name: region.moved for name, region in memory.regions.items()} == {"weights0": 4, "result": 4}
    assert memory.violations == []
    asyncio.run(memory.write(0x2004, b"\x01\x02\x03\x04"))
    asyncio.run(memory.write(0x1040, b"\x01"))
    assert asyncio.run(memory.read(0x1060, 16)) == bytes(16)
    assert memory.regions["result"].content == b"\0\0\x01\x02\x03\x04"
    assert memory.regions["weights0"].content == bytes(range(20))
    assert memory.violations == [
        "wrote 4 bytes at 0x2004, which is not all in the result or the trace",
        "wrote 1 bytes at 0x1040, which is not all in the result or the trace",
        "read 16 bytes at 0x1060, where nothing lies",
    ]
