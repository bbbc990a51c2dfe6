"""Faults planted in RTL are caught and located by its simulation; one that is missed would be reported."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from shifted_models import write_shifted_model
from token_project import make_token_project

from qvit_hls.cli.main import main
from qvit_hls.errors import QvitError
from qvit_hls.flow.generate import Target, generate
from qvit_hls.nets.checkpoint import save_model
from qvit_hls.nets.config import BlockConfig, VitConfig
from qvit_hls.nets.random import random_model
from qvit_hls.report.mutation import mutation_table, mutation_verdict
from qvit_hls.verify.faults.catalogue import CATALOGUE, RTL_CATALOGUE, select
from qvit_hls.verify.faults.fault import NotInProjectError
from qvit_hls.verify.faults.rtl_fault import Edit, PlacedEdit, RtlFault, Shows
from qvit_hls.verify.faults.rtl_sources import switched
from qvit_hls.verify.faults.subject import Subject
from qvit_hls.verify.faults.where import gemm, unit
from qvit_hls.verify.mutation import MutationReport
from qvit_hls.verify.rtl_mutation import run_rtl_mutation

#: Layers long enough to overlap token tile by token tile.
DIGITS = Path(__file__).parents[2] / "examples" / "digits" / "model.pt"
CLASS_TOKEN = VitConfig(
    image_size=16,
    channels=2,
    patch_size=4,
    classes=4,
    embed_dim=20,
    eight_bit_share=0.2,
    blocks=(
        BlockConfig(heads=2, head_dim=10, mlp_hidden=28),
        BlockConfig(heads=1, head_dim=6, mlp_hidden=20),
    ),
)
MEAN_OF_TOKENS = VitConfig(
    image_size=6,
    channels=3,
    patch_size=2,
    classes=4,
    embed_dim=20,
    blocks=(BlockConfig(heads=1, head_dim=6, mlp_hidden=28),),
    pooling="mean",
    activation_bits=8,
)
#: Few tokens and long weight rows: the first scores follow the last values at once. On narrow tiles,
#: softmax has fewer steps than lanes.
SMALL = VitConfig(
    image_size=4,
    channels=1,
    patch_size=2,
    classes=2,
    embed_dim=80,
    blocks=(BlockConfig(heads=2, head_dim=4, mlp_hidden=8),),
)

NO_OP = RtlFault(
    "no-op",
    "requantization",
    "nothing",
    "rtl/gemm/gemm_drain.sv",
    (Edit("(high <<< 4)", "(high <<< 3) + (high <<< 3)"),),
    gemm,
    "a matrix product",
)


def make_project(folder: Path, config: VitConfig, tile: tuple[int, int, int], **changes: int) -> Path:
    """A project with RTL, whose accelerator is the chosen one but for ``changes``."""
    save_model(random_model(config, seed=3), folder / "model.pt")
    chosen = Target.of_build(
        generate(folder / "model.pt", folder / "chosen", Target.on_board(tile=tile, mac="rtl")).folder
    )
    assert chosen.config is not None
    target = replace(chosen, config=chosen.config.model_copy(update=changes))
    return generate(folder / "model.pt", folder / "project", target).folder


@pytest.fixture(scope="module")
def small_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("small"), SMALL, (8, 12, 4), dsp_rows=6)


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory, small_project: Path) -> tuple[Path, ...]:
    """Some that together have a place for every fault."""
    names = ("class_token", "mean", "narrow", "digits", "shifted", "joined")
    first, second, third, fourth, fifth, sixth = (tmp_path_factory.mktemp(name) for name in names)
    digits = generate(DIGITS, fourth / "project", Target.on_board(tile=(8, 16, 4), mac="rtl"))
    model = write_shifted_model(fifth / "model.pt", CLASS_TOKEN, seed=3)
    shifted = generate(model, fifth / "project", Target.on_board(tile=(4, 8, 4), mac="rtl"))
    return (
        small_project,
        make_project(first, CLASS_TOKEN, (8, 8, 4), dsp_rows=4, image_pixels=1),
        make_project(second, MEAN_OF_TOKENS, (8, 12, 8), dsp_rows=9, drain_rows=1, weight_ports=2),
        make_project(third, SMALL, (4, 12, 4), dsp_rows=6),
        digits.folder,
        shifted.folder,
        make_token_project(sixth / "project", Target.on_board(tile=(4, 16, 4), mac="rtl")),
    )


@pytest.fixture(scope="module")
def report(small_project: Path) -> MutationReport:
    names = ("row-borrow-lost", "operands-not-awaited", "takes-garbage-as-program")
    faults = select(names, RTL_CATALOGUE)
    misplaced = replace(faults[0], name="misplaced", where=unit("softmax"))
    return run_rtl_mutation(small_project, [*faults, NO_OP, misplaced], jobs=2)


def test_faults_show_where_and_how_the_catalogue_says(report: MutationReport) -> None:
    packing, hazard, stalled, _, _ = report.outcomes
    assert (packing.caught, packing.located, packing.first) == (True, True, "patch_embed")
    assert (hazard.caught, hazard.located) == (True, True)
    assert hazard.first.startswith("Image 0, trace off: ")
    assert hazard.expected == {Shows.UNTRACED.value}
    assert (stalled.caught, stalled.located) == (True, True)


def test_a_fault_that_is_missed_or_misplaced_is_reported(report: MutationReport) -> None:
    _, _, _, no_op, misplaced = report.outcomes
    assert (no_op.caught, no_op.located, no_op.first) == (False, False, "")
    assert (misplaced.caught, misplaced.located, misplaced.first) == (True, False, "patch_embed")
    assert not report.passed
    lines = mutation_verdict(report).plain.splitlines()
    assert lines == [
        "MISSED: no-op (nothing), planted in rtl/gemm/gemm_drain.sv",
        "NOT LOCATED: misplaced (the second row enters port A without the borrow of a negative first one), "
        "planted in rtl/mac/mac_dsp_rows.sv: expected in blocks.0.attn.softmax[0], "
        "blocks.0.attn.softmax[1], reported patch_embed",
        "score: 4 of 5 caught, 3 of 5 located",
    ]


def test_the_report_names_every_fault_and_its_variant(report: MutationReport) -> None:
    faults = json.loads(json.dumps(report.to_json()))["faults"]
    assert [fault["variant"] for fault in faults] == ["RTL", "RTL", "RTL, streams stalled", "RTL", "RTL"]
    assert mutation_table(report).row_count == 5


def test_every_fault_has_a_place_in_some_project(projects: tuple[Path, ...]) -> None:
    planted: set[str] = set()
    for folder in projects:
        subject = Subject(folder)
        edits = {}
        for number, fault in enumerate(RTL_CATALOGUE):
            try:
                planting = fault.plant(subject)
            except NotInProjectError:
                continue
            planted.add(fault.name)
            assert planting.expected
            edits[number + 1] = planting.edits
        texts = {fault.file: (folder / fault.file).read_text() for fault in RTL_CATALOGUE}
        changed = "".join(switched(texts, edits).values())
        assert {int(found) for found in re.findall(r"fault_pkg::planted == (\d+)", changed)} == set(edits)
    assert planted == {fault.name for fault in RTL_CATALOGUE}


def test_fault_names_are_unique_and_there_are_enough() -> None:
    assert len({fault.name for fault in RTL_CATALOGUE}) == len(RTL_CATALOGUE) >= 40


def test_a_switch_chooses_between_texts() -> None:
    text = "assign y = p + q;\nif (r) x <= 1;\n"

    def placed(before: str, after: str) -> PlacedEdit:
        start = text.index(before)
        return PlacedEdit("f.sv", start, start + len(before), Edit(before, after))

    edits = {1: [placed("p", "0")], 2: [placed("x <= 1;", "")], 3: [placed("p", "1")]}
    assert switched({"f.sv": text}, edits)["f.sv"] == (
        "assign y = (fault_pkg::planted == 3 ? (1) : ((fault_pkg::planted == 1 ? (0) : (p)))) + q;\n"
        "if (r) if (fault_pkg::planted == 2) begin  end else begin x <= 1; end\n"
    )
    with pytest.raises(QvitError, match=r"^Two faults change overlapping texts of f\.sv, one of them 'p'\. "):
        switched({"f.sv": text}, {1: [placed("y = p", "y = q")], 2: [placed("p", "q")]})


def test_faults_that_no_longer_apply_are_all_named(small_project: Path) -> None:
    gone = replace(NO_OP, name="gone", edits=(Edit("no such text", ""),))
    unclear = replace(NO_OP, name="unclear", edits=(Edit("high", "low", "(high <<< 4) + low : high"),))
    path = small_project / "rtl" / "gemm" / "gemm_drain.sv"
    with pytest.raises(QvitError) as error:
        run_rtl_mutation(small_project, [gone, unclear])
    assert error.value.problems == (
        f"The fault gone no longer applies: {path} holds the text 'no such text' 0 times; it must be there "
        "exactly once. Make the project again with this version of qvit-hls, or bring the catalogue of "
        "faults up to date.",
        "The fault unclear is not clear: its text '(high <<< 4) + low : high' holds 'high' 2 times; it must "
        "be there exactly once.",
    )


def test_a_project_without_rtl_is_refused(tmp_path: Path) -> None:
    save_model(random_model(SMALL, seed=3), tmp_path / "model.pt")
    folder = generate(tmp_path / "model.pt", tmp_path / "project", Target.on_board(tile=(8, 12, 4))).folder
    result = CliRunner().invoke(main, ["mutate", str(folder), "--rtl"])
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: The project {folder} holds no RTL to plant faults in. Make it with qvit-hls gen --mac rtl.\n"
    )


def test_options_of_the_other_simulation_are_refused(small_project: Path) -> None:
    result = CliRunner().invoke(main, ["mutate", str(small_project), "--rtl", "--functional"])
    assert result.exit_code == 1
    assert result.stderr == (
        "error: --functional is about C-simulation, --rtl about RTL: leave out one of them.\n"
    )


def test_an_unknown_fault_is_answered_with_the_list_of_its_kind(small_project: Path) -> None:
    result = CliRunner().invoke(main, ["mutate", str(small_project), "--rtl", "--only", CATALOGUE[0].name])
    names = ", ".join(fault.name for fault in RTL_CATALOGUE)
    assert result.stderr == (f"error: There is no fault {CATALOGUE[0].name!r}. The faults are: {names}.\n")


@pytest.mark.slow
def test_every_fault_of_the_catalogue_is_located(projects: tuple[Path, ...]) -> None:
    planted: set[str] = set()
    for folder in projects:
        # Those behind the third are there for what the others have no place for.
        missing = [fault for fault in RTL_CATALOGUE if fault.name not in planted]
        report = run_rtl_mutation(folder, missing if folder in projects[3:] else RTL_CATALOGUE)
        assert report.passed, mutation_verdict(report).plain
        planted |= {outcome.fault.name for outcome in report.planted}
    assert planted == {fault.name for fault in RTL_CATALOGUE}


@pytest.mark.slow
def test_a_project_that_differs_already_is_refused(small_project: Path, tmp_path: Path) -> None:
    for path in small_project.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(small_project)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    weights = tmp_path / "data" / "weights0.bin"
    weights.write_bytes(bytes(len(weights.read_bytes())))
    with pytest.raises(QvitError) as error:
        run_rtl_mutation(tmp_path, [NO_OP])
    assert str(error.value) == (
        f"{tmp_path} differs before any fault is planted, so faults prove nothing. "
        f"Run: qvit-hls cosim {tmp_path} --packed"
    )
