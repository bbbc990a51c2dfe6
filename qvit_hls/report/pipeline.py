"""The result of ``qvit-hls pipeline`` as a table."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from qvit_hls.flow.pipeline import PipelineResult, Project

_HEADINGS = (
    "Target", "Engine", "FPS", "Inherited", "Tuned", "Integer", "Bits", "Cycles", "LUT", "DSP", "BRAM36",
    "C-simulation", "RTL simulation",
)  # fmt: skip


def pipeline_table(result: PipelineResult) -> RenderableType:
    """A row for each project; accuracies are of the test images."""
    with_cosim = any("cosim" in project.proof for project in result.projects)
    headings = _HEADINGS if with_cosim else _HEADINGS[:-1]
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right")
    for project in result.projects:
        table.add_row(*_cells(project)[: len(headings)])
    images = {project.accuracies.images for project in result.projects}
    summary = (
        f"\nnetworks of the space {result.space} on {result.board} at {result.clock_mhz:g} MHz; frames per "
        "second by the cycle model; "
        f"top-1 of {', '.join(map(str, sorted(images)))} test images; in {result.out}"
    )
    return Group(table, Text(summary))


def _cells(project: Project) -> list[str]:
    accuracies, accelerator = project.accuracies, project.accelerator
    return [
        f"{project.target_fps:g}",
        project.engine,
        f"{project.frames_per_second:,.1f}",
        *(f"{100 * top1:.2f} %" for top1 in (accuracies.inherited, accuracies.tuned, accuracies.integer)),
        f"{project.average_bits:.2f}",
        f"{project.cycles:,}",
        f"{accelerator.lut:,}",
        f"{accelerator.dsp:,}",
        f"{accelerator.bram36:,}",
        _equal(project, "csim"),
        _equal(project, "cosim"),
    ]


def _equal(project: Project, simulation: str) -> str:
    found = project.proof.get(simulation)
    if found is None:
        return "-"
    return f"equal ({found['images']} image{'s' * (found['images'] != 1)})"
