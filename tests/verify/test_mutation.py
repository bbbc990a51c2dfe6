"""Planted faults are caught and located, and a harness that missed one would be reported."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from shifted_models import write_shifted_model
from token_project import make_token_project

from qvit_hls.cli.main import main
from qvit_hls.errors import QvitError
from qvit_hls.flow.generate import Target, generate
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model
from qvit_hls.report.mutation import mutation_verdict
from qvit_hls.verify.csim import run_csim
from qvit_hls.verify.faults.catalogue import CATALOGUE, select
from qvit_hls.verify.faults.fault import SourceFault
from qvit_hls.verify.faults.stream_data import linear_layers, linear_op, memory_column, streamed_rows
from qvit_hls.verify.faults.subject import Subject
from qvit_hls.verify.faults.where import gemm, requantizes, unit
from qvit_hls.verify.mutation import run_mutation

CLASS_TOKEN = VitConfig(
    image_size=8,
    channels=1,
    patch_size=2,
    classes=4,
    embed_dim=20,
    blocks=(BlockConfig(heads=2, head_dim=6, mlp_hidden=28),),
)
MEAN_OF_TOKENS = CLASS_TOKEN.model_copy(update={"pooling": "mean", "activation_bits": 8})

NO_OP = SourceFault(
    "no-op",
    "requantization",
    "nothing",
    "src/kernels/requantize.hpp",
    (("// multiplier / 2**shift\n", "// multiplier / 2^shift\n"),),
    requantizes,
    "a requantization",
)
TRUNCATES = next(fault for fault in CATALOGUE if fault.name == "requantize-truncates")


def make_project(folder: Path, config: VitConfig, tile: tuple[int, int, int]) -> Path:
    save_model(random_model(config, seed=3), folder / "model.pt")
    return generate(folder / "model.pt", folder / "project", Target.on_board(tile=tile)).folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_project(tmp_path_factory.mktemp("mutation"), CLASS_TOKEN, (8, 8, 4))
    assert run_csim(folder).passed  # and the program is there for faults in the data
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def mutate(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["mutate", *map(str, arguments)])


def test_faults_in_kernels_and_data_are_located(project: Path, tmp_path: Path) -> None:
    before = contents(project)
    names = ("requantize-truncates", "sums-of-other-lane", "bias-off", "keys-base-off", "dsp-triple-*")
    only = [part for name in names for part in ("--only", name)]
    result = mutate(project, *only, "--json", tmp_path / "report.json")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "score: 4 of 4 caught, 4 of 4 located; 2 not in this project"
    faults = {fault["name"]: fault for fault in json.loads((tmp_path / "report.json").read_text())["faults"]}
    assert faults["requantize-truncates"]["first_difference"] == "patch_embed"
    assert faults["sums-of-other-lane"]["first_difference"] == "patch_embed"
    for name in ("bias-off", "keys-base-off"):
        assert faults[name]["expected"] == [faults[name]["first_difference"]]
    assert faults["dsp-triple-misplaced"]["not_in_project"] == (
        "needs DSP lanes of three rows by one token (A = 8)"
    )
    assert contents(project) == before


def test_faults_in_the_shifts_of_a_layer_norm_are_located(tmp_path: Path) -> None:
    model = write_shifted_model(tmp_path / "model.pt", CLASS_TOKEN, seed=3)
    folder = generate(model, tmp_path / "project", Target.on_board(tile=(8, 8, 4))).folder
    report = run_mutation(folder, select(["layer-norm-shift-*", "norm-shift-off"], CATALOGUE))
    assert report.passed, mutation_verdict(report).plain
    assert [outcome.fault.name for outcome in report.planted] == [
        "layer-norm-shift-ignored",
        "layer-norm-shift-of-neighbour",
        "norm-shift-off",
    ]
    assert {outcome.first for outcome in report.outcomes} <= {"blocks.0.norm1", "blocks.0.norm2"}


def test_a_fault_that_the_harness_misses_or_misplaces_is_reported(project: Path) -> None:
    misplaced = replace(TRUNCATES, name="misplaced", where=unit("softmax"))
    report = run_mutation(project, [NO_OP, misplaced])
    assert [(o.caught, o.located, o.first) for o in report.outcomes] == [
        (False, False, ""),
        (True, False, "patch_embed"),
    ]
    assert not report.passed
    assert mutation_verdict(report).plain == (
        "MISSED: no-op (nothing), planted in src/kernels/requantize.hpp\n"
        "NOT LOCATED: misplaced (rounds down instead of half up), planted in src/kernels/requantize.hpp: "
        "expected in blocks.0.attn.softmax[0], blocks.0.attn.softmax[1], reported patch_embed\n"
        "score: 1 of 2 caught, 0 of 2 located"
    )


def test_a_simulation_that_stops_is_caught_but_not_located(project: Path) -> None:
    stops = replace(
        NO_OP, name="stops", edits=(("    int length = 0;", "    int length = 0;\n    __builtin_trap();"),)
    )
    (outcome,) = run_mutation(project, [stops]).outcomes
    assert (outcome.caught, outcome.located) == (True, False)
    assert outcome.first.startswith("The C-simulation csim/functional/csim ended with signal SIG")


def test_faults_that_no_longer_apply_are_all_named(project: Path) -> None:
    gone = replace(NO_OP, name="gone", edits=(("no such text", ""),))
    often = replace(NO_OP, name="often", edits=(("length", "len"),))
    path = project / "src" / "kernels" / "requantize.hpp"
    count = path.read_text().count("length")
    with pytest.raises(QvitError) as error:
        run_mutation(project, [gone, often])
    assert error.value.problems == tuple(
        f"The fault {name} no longer applies: {path} holds the text {text!r} {times} times; it must be there "
        "exactly once. Make the project again with this version of qvit-hls, or bring the catalogue of "
        "faults up to date."
        for name, text, times in (("gone", "no such text", 0), ("often", "length", count))
    )


def test_a_fault_that_does_not_compile_is_not_counted_as_caught(project: Path) -> None:
    broken = replace(NO_OP, name="broken", where=gemm, edits=(("    int length = 0;", "    int length = ;"),))
    with pytest.raises(QvitError, match=r"^The fault broken does not compile\. The C-simulation did not"):
        run_mutation(project, [broken])


def test_a_project_that_differs_already_is_refused(project: Path, tmp_path: Path) -> None:
    different = tmp_path / "different"
    for path, content in contents(project).items():
        (different / path).parent.mkdir(parents=True, exist_ok=True)
        (different / path).write_bytes(content)
    (different / "csim" / "functional" / "csim").chmod(0o755)
    weights = different / "data" / "weights0.bin"
    weights.write_bytes(bytes(len(weights.read_bytes())))
    with pytest.raises(QvitError) as error:
        run_mutation(different, [NO_OP])
    assert str(error.value) == (
        f"{different} differs before any fault is planted, so faults prove nothing. "
        f"Run: qvit-hls csim {different}"
    )


def test_an_unknown_fault_is_answered_with_the_list(project: Path) -> None:
    result = mutate(project, "--only", "bias-of")
    assert result.exit_code == 1
    names = ", ".join(fault.name for fault in CATALOGUE)
    assert result.stderr == f"error: There is no fault 'bias-of'. The faults are: {names}.\n"


def test_every_fault_in_a_kernel_fits_the_kernels() -> None:
    kernels = resources.files("qvit_hls") / "hls_kernels" / "hls"
    stale = [
        (fault.name, before)
        for fault in CATALOGUE
        if isinstance(fault, SourceFault)
        for before, _ in fault.edits
        if (kernels / Path(fault.file).name).read_text(encoding="utf-8").count(before) != 1
    ]
    assert stale == []


def test_fault_names_are_unique() -> None:
    assert len({fault.name for fault in CATALOGUE}) == len(CATALOGUE)


def test_every_weight_and_parameter_is_found_in_the_stream(project: Path) -> None:
    subject = Subject(project)
    stream = subject.stream

    def digit(layer: str, row: int, column: int, index: int) -> int:
        offset, lowest = stream.atom(layer, row, column, index)
        return ((stream.content[offset] >> lowest & 15) ^ 8) - 8

    for layer in linear_layers(subject):
        op = linear_op(subject, layer)
        rows = streamed_rows(subject, layer)
        columns = [memory_column(subject, layer, column) for column in range(op.weight.shape[1])]
        for place, row in enumerate(rows):
            wide = op.row_bits[row] == 8
            codes = [
                16 * digit(layer.name, place, at, 0) + digit(layer.name, place, at, 1)
                if wide
                else digit(layer.name, place, at, 0)
                for at in columns
            ]
            assert np.array_equal(codes, op.weight[row])
            assert stream.parameter(layer.name, place, "multiplier") == op.multiplier[row]
            assert stream.parameter(layer.name, place, "shift") == op.shift[row]
            assert stream.parameter(layer.name, place, "bias") == op.bias[row] % (1 << 30)


@pytest.mark.slow
def test_every_fault_of_the_catalogue_is_located_in_some_project(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = make_project(tmp_path / "one", CLASS_TOKEN, (8, 16, 8))
    plain = Target.of_build(make_project(tmp_path / "two", MEAN_OF_TOKENS, (12, 16, 4)))
    assert plain.config is not None
    # Nine rows on DSPs, the others on LUT lanes.
    target = replace(plain, config=plain.config.model_copy(update={"dsp_rows": 9}))
    second = generate(tmp_path / "two" / "model.pt", tmp_path / "two" / "mixed", target).folder
    model = write_shifted_model(tmp_path / "shifted.pt", CLASS_TOKEN, seed=3)
    third = generate(model, tmp_path / "three", Target.on_board(tile=(8, 8, 4))).folder
    fourth = make_token_project(tmp_path / "four", Target.on_board(tile=(4, 16, 4)))
    planted: set[str] = set()
    for folder in (first, second, third, fourth):
        # The last two are there for what the others have no place for.
        missing = [fault for fault in CATALOGUE if fault.name not in planted]
        report = run_mutation(folder, missing if folder in (third, fourth) else CATALOGUE)
        assert report.passed, mutation_verdict(report).plain
        planted |= {outcome.fault.name for outcome in report.planted}
    assert planted == {fault.name for fault in CATALOGUE}
