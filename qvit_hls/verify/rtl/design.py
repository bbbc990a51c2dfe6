"""The RTL of a generated project: which files it is made of, and the bench around it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2

from qvit_hls.errors import QvitError
from qvit_hls.flow.build import Build
from qvit_hls.flow.output import write_file

_AGAIN = "Make the project again with qvit-hls gen --mac rtl."
_BENCH_SOURCES = ("bench_stalls.sv", "bench_source.sv", "bench_sink.sv")
BENCH_TOP = "frame_bench"


@dataclass(frozen=True)
class Design:
    """RTL that can be simulated.

    Attributes:
        top: top module.
        sources: in compile order, primitives included.
        ports: weight ports.
        functional: whether the top module has the parameter FUNCTIONAL.
    """

    top: str
    sources: tuple[Path, ...]
    ports: int
    functional: bool

    @property
    def inputs(self) -> tuple[tuple[str, int], ...]:
        """Streams into the accelerator with their bits, in the order in which the bench counts them."""
        return ("program", 32), *((f"weights{port}", 128) for port in range(self.ports)), ("image", 128)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Streams out of it, counted behind the inputs."""
        return "result", "trace"

    @property
    def streams(self) -> tuple[str, ...]:
        """All of them by name, as the bench counts them."""
        return *(name for name, _ in self.inputs), *self.outputs


def read_design(build: Build, ports: int) -> Design:
    """The RTL that a project's manifest names.

    Args:
        build: the generated project.
        ports: weight ports of its accelerator.

    Raises:
        QvitError: it was made without RTL, or the entry or a file is damaged or missing.
    """
    manifest = build.folder / "manifest.json"
    entry = build.manifest.get("rtl")
    if entry is None:
        raise QvitError(
            f"The project {build.folder} holds no RTL: it was made with --mac hls. Make it with "
            "qvit-hls gen --mac rtl, or name RTL that Vitis made with --rtl DIR."
        )
    try:
        top = _text(entry["top"])
        # Primitives are instantiated by the others, and have no package of their own.
        names = [_text(name) for key in ("sources", "simulation_sources") for name in entry[key]]
    except (KeyError, TypeError) as error:
        raise QvitError(
            f"{manifest} does not say what the RTL is made of (entry 'rtl'). It was damaged or written by "
            f"another version. {_AGAIN}"
        ) from error
    problems = list(_problems(build, names))
    if problems:
        raise QvitError(problems)
    sources = tuple(build.folder / name for name in names)
    return Design(top, sources, ports, any(_has_functional(path, top) for path in sources))


def write_bench(design: Design, folder: Path) -> list[Path]:
    """Put the bench around a design into ``folder``.

    Returns:
        Its sources, in compile order; they belong behind the design's. The top is ``frame_bench``.
    """
    package = resources.files("qvit_hls") / "verify" / "rtl" / "bench"
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    template = environment.from_string((package / f"{BENCH_TOP}.sv.j2").read_text(encoding="utf-8"))
    bench = template.render(
        top=design.top,
        ports=design.ports,
        functional=design.functional,
        sources=[{"name": name, "width": width} for name, width in design.inputs],
        sinks=design.outputs,
        streams=design.streams,
    )
    files = {name: (package / name).read_bytes() for name in _BENCH_SOURCES}
    files[f"{BENCH_TOP}.sv"] = bench.encode()
    for name, content in files.items():
        write_file(folder / name, content)
    return [folder / name for name in files]


def _problems(build: Build, names: list[str]) -> Iterator[str]:
    for name in names:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            yield (
                f"{build.folder / 'manifest.json'} names the path {name!r}, which leads out of the project. "
                f"{_AGAIN}"
            )
        elif not (build.folder / name).is_file():
            yield f"The project lacks the source {build.folder / name}. {_AGAIN}"


def _has_functional(path: Path, top: str) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    header = re.search(rf"\bmodule\s+{re.escape(top)}\b(.*?);", text, re.DOTALL)
    return header is not None and re.search(r"\bFUNCTIONAL\s*=", header[1]) is not None


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise TypeError("not a string")
    return value
