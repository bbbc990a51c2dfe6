"""The ablations: what their tables say follows from the seeds' numbers, and every study runs."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from rich.console import Console

FOLDER = Path(__file__).parents[2] / "benchmarks" / "ablations"
SEEDS = [
    {
        "with": {"smallest": 0.5, "largest": 0.75},
        "without": {"smallest": 0.25, "largest": 0.5},
        "with - without": {"smallest": 0.25, "largest": 0.25},
        "progress": {"random": [[1, 2.0]]},
    },
    {
        "with": {"smallest": 0.75, "largest": 0.75},
        "without": {"smallest": 0.25, "largest": 1.0},
        "with - without": {"smallest": 0.5, "largest": -0.25},
        "progress": {"random": [[1, 3.0]]},
    },
]


@pytest.fixture(scope="module")
def ablations() -> Iterator[dict[str, ModuleType]]:
    """The benchmark's modules, which import each other as a script's do."""
    names = ("networks", "studies", "report")
    sys.path.insert(0, str(FOLDER))
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(str(FOLDER))
        for name in names:
            sys.modules.pop(name, None)


def test_a_summary_is_mean_and_sample_deviation_of_every_number(ablations: dict[str, ModuleType]) -> None:
    found = ablations["report"].summary(SEEDS)
    assert list(found) == ["with", "without", "with - without"]
    assert found["with"]["smallest"] == {"mean": 0.625, "std": pytest.approx(0.125 * 2**0.5)}
    assert found["with"]["largest"] == {"mean": 0.75, "std": 0.0}
    assert found["with - without"]["largest"] == {"mean": 0.0, "std": pytest.approx(0.25 * 2**0.5)}


def test_a_table_shows_percent_and_the_sign_of_differences(ablations: dict[str, ModuleType]) -> None:
    report = ablations["report"]
    console = Console(width=100, file=io.StringIO(), record=True)
    for table in report.tables({"layer_scale": report.summary(SEEDS)}):
        console.print(table)
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["with", "62.50", "±", "17.68", "75.00", "±", "0.00"] in lines
    assert ["with", "-", "without", "+37.50", "±", "17.68", "+0.00", "±", "35.36"] in lines


@pytest.mark.slow
def test_every_study_runs_and_goes_on_from_what_is_there(
    ablations: dict[str, ModuleType], tmp_path: Path
) -> None:
    networks, studies = ablations["networks"], ablations["studies"]
    drawn = np.random.default_rng(0)
    for name in ("train", "validation", "test"):
        images, labels = drawn.integers(256, size=(134, 64, 64), dtype=np.uint8), np.arange(134) % 67
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)
    budget = networks.Budget(steps=8, tune_steps=4, trials=12, search_images=67, networks=3, ranked=3)
    laboratory = networks.Laboratory(tmp_path / "out", tmp_path, budget)
    first = {name: study(laboratory, 0) for name, study in studies.STUDIES.items()}
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.pt")}
    again = {name: study(laboratory, 0) for name, study in studies.STUDIES.items()}
    # Text, since a correlation of equal numbers is no number.
    assert str(first) == str(again)
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.pt")}
    summaries = {name: ablations["report"].summary([found]) for name, found in first.items()}
    assert (
        ablations["report"].pictures({name: [found] for name, found in first.items()}, summaries)[:4]
        == b"\x89PNG"
    )
