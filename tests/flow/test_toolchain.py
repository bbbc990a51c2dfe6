"""Tools are found where they are, and a missing one is explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from bare_machine import Install

from qvit_hls.errors import QvitError
from qvit_hls.flow import toolchain
from qvit_hls.flow.doctor import Finding, examine, is_ready

DEBIAN_GCC = "g++ (Debian 12.2.0-14+deb12u1) 12.2.0"


def findings() -> dict[str, Finding]:
    return {finding.tool: finding for finding in examine()}


def test_no_compiler_is_explained(bare_machine: Install) -> None:
    with pytest.raises(QvitError) as error:
        toolchain.require_compiler()
    assert error.value.problems == (
        "No C++ compiler was found: neither g++ nor clang++ is on PATH. Install one "
        "(Debian, Ubuntu: apt-get install g++; Fedora: dnf install gcc-c++), or set CXX to one.",
    )


def test_a_wrong_cxx_is_named(bare_machine: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    bare_machine("g++", DEBIAN_GCC)
    monkeypatch.setenv("CXX", "g++-99 -m64")
    with pytest.raises(QvitError) as error:
        toolchain.require_compiler()
    assert error.value.problems == (
        "The variable CXX names the compiler 'g++-99', which is not on PATH. "
        "Set CXX to a C++17 compiler, or unset it to use g++ or clang++.",
    )


def test_an_unclosed_quotation_mark_in_cxx_is_named(
    bare_machine: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare_machine("g++", DEBIAN_GCC)
    monkeypatch.setenv("CXX", '"g++ -m64')
    with pytest.raises(QvitError) as error:
        toolchain.require_compiler()
    assert error.value.problems == (
        "The variable CXX is '\"g++ -m64', whose quotation marks are not closed. "
        "Set CXX to a C++17 compiler, or unset it to use g++ or clang++.",
    )
    assert toolchain.find_compiler() is None


def test_gpp_comes_before_clang_and_cxx_before_both(
    bare_machine: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    clang = bare_machine("clang++", "Debian clang version 14.0.6")
    assert toolchain.require_compiler() == toolchain.Tool((str(clang),), "14.0.6", "PATH")
    gpp = bare_machine("g++", DEBIAN_GCC)
    assert toolchain.require_compiler() == toolchain.Tool((str(gpp),), "12.2.0", "PATH")
    ccache = bare_machine("ccache", DEBIAN_GCC)
    monkeypatch.setenv("CXX", "ccache g++ -m64")
    assert toolchain.require_compiler() == toolchain.Tool((str(ccache), "g++", "-m64"), "12.2.0", "CXX")


def test_missing_headers_are_explained(bare_machine: Install) -> None:
    with pytest.raises(QvitError) as error:
        toolchain.require_ap_types()
    assert error.value.problems == (
        "Xilinx's ap_int.h was found neither in the Python package hls4ml nor in a Vitis installation. "
        "Install it with: pip install hls4ml",
    )


def test_headers_of_a_vitis_installation_are_found(bare_machine: Install, tmp_path: Path) -> None:
    root = tmp_path / "Xilinx" / "Vitis" / "2024.2"
    bare_machine("vitis-run", folder=root / "bin")
    (root / "include").mkdir()
    (root / "include" / "ap_int.h").write_text("")
    assert toolchain.require_ap_types() == toolchain.Headers(root / "include", "2024.2", "PATH")


def test_headers_come_with_hls4ml_without_importing_it() -> None:
    headers = toolchain.require_ap_types()
    assert (headers.folder / "hls_stream.h").is_file()
    assert headers.origin == "Python package hls4ml"


@pytest.mark.parametrize(("release", "status"), [("2023.2", "ok"), ("2024.2", "ok"), ("2025.1", "unusable")])
def test_vitis_hls_is_a_stub_from_2025(
    bare_machine: Install, tmp_path: Path, release: str, status: str
) -> None:
    bare_machine("vitis_hls", folder=tmp_path / "Xilinx" / "Vitis_HLS" / release / "bin")
    found = findings()["vitis_hls"]
    assert (found.version, found.status) == (release, status)


def test_doctor_on_a_bare_machine_says_what_is_missing(bare_machine: Install) -> None:
    found = examine()
    assert not is_ready(found)
    assert {finding.tool: finding.status for finding in found if finding.tool not in ("PyTorch", "ONNX")} == {
        "Python": "ok",
        "C++ compiler": "missing",
        "ap_int headers": "missing",
        "Vitis (vitis-run, v++)": "optional",
        "vitis_hls": "optional",
        "Verilator": "optional",
        "cocotb": "optional",
        "cocotbext-axi": "optional",
        "Yosys": "optional",
        "XRT": "optional",
    }
    assert all(finding.install and finding.enables for finding in found)


def test_doctor_finds_tools_and_their_versions(bare_machine: Install) -> None:
    bare_machine("g++", DEBIAN_GCC)
    bare_machine("verilator", "Verilator 5.020 2024-01-01 rev (Debian 5.020-1)")
    bare_machine("yosys", "Yosys 0.33 (git sha1 2584903a060)")
    found = findings()
    assert [found[tool].version for tool in ("C++ compiler", "Verilator", "Yosys")] == [
        "12.2.0",
        "5.020",
        "0.33",
    ]


def test_an_old_compiler_is_unusable(bare_machine: Install) -> None:
    bare_machine("g++", "g++ (GCC) 4.8.5 20150623 (Red Hat 4.8.5-44)")
    found = findings()["C++ compiler"]
    assert (found.status, found.remark) == ("unusable", "C++17 needs version 7 or later")
