"""Building models beyond what the RTL harness's own test covers."""

from __future__ import annotations

from pathlib import Path

import pytest

from qvit_hls.errors import QvitError
from qvit_hls.flow import waveforms
from qvit_hls.flow.verilator import build_model

MODULE = """
module adder (
    /* verilator public_flat_rw_on */
    input logic clk,
    output logic [31:0] sum
    /* verilator public_off */
);
    logic [31:0] terms[8];
    always_ff @(posedge clk) begin
        for (int i = 0; i < 8; i++) terms[i] <= terms[i] * 3 + 32'(i);
        sum <= terms[0] + terms[7];
    end
endmodule
"""


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(QvitError) as error:
        build_model([tmp_path / "a.sv", tmp_path / "b.sv"], "a", tmp_path / "model")
    assert error.value.problems == tuple(
        f"There is no file {tmp_path / name}, which the simulation is built from."
        for name in ("a.sv", "b.sv")
    )


def test_waveforms_without_their_libraries_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waveforms, "_has_header", lambda name: name == "zlib.h")
    monkeypatch.setattr(waveforms.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(QvitError) as error:
        waveforms.waveform_arguments(tmp_path)
    assert error.value.problems == (
        "Waveforms need the headers of zlib and LZ4, which Verilator's FST writer is compiled with. "
        "Install them (Debian, Ubuntu: apt-get install zlib1g-dev liblz4-dev), or leave out --trace.",
    )
    monkeypatch.setattr(waveforms, "_has_header", lambda name: True)
    assert waveforms.waveform_arguments(tmp_path) == []


@pytest.mark.slow
def test_a_model_of_many_files_builds_and_only_once(tmp_path: Path) -> None:
    source = tmp_path / "adder.sv"
    source.write_text(MODULE)
    options = ("--output-split", "1")  # as large designs are split
    model = build_model([source], "adder", tmp_path / "model", arguments=options)
    assert model.program.is_file()
    assert model.seconds is not None
    again = build_model([source], "adder", tmp_path / "model", arguments=options)
    assert (again.program, again.seconds) == (model.program, None)
