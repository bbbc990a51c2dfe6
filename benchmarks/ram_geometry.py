"""Block RAMs and LUTs that Yosys takes for the engine's RAM (``memory/ram.sv``), over depths and widths.

The model, ``qvit_hls/hw/resources/geometry.py``, is compared with every one; where it differs, the script
fails.

    python benchmarks/ram_geometry.py [--out benchmarks/area/ram_geometry.json]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from area_units import RTL

from qvit_hls.flow.netlist import lut_memory_sites
from qvit_hls.flow.output import write_json
from qvit_hls.flow.synthesis import require_yosys
from qvit_hls.hw.resources.geometry import memory

#: Up to the mapping of memories; nothing behind it changes their number.
_STEPS = (
    "design -reset",
    "read_slang -j 1 ram.sv --top ram -G DEPTH={depth} -G LANES={lanes} -G LANE_BITS={bits}",
    "synth_xilinx -family xcup -top ram -noiopad -noclkbuf -flatten -run begin:map_ffram",
    "tee -q -o {name}.json stat -json",
)
_SHALLOW = (1, 2, 8, 16, 32, 33, 48, 64, 65, 96, 128, 129, 192, 256, 257, 384, 512)
_DEEP = (513, 700, 1024, 1025, 1500, 2048, 2049, 3000, 4096, 5000, 8192, 8193)


def grid() -> Iterator[tuple[int, int, int]]:
    """Depth, lanes, and bits of a lane."""
    for lanes, bits in ((2, 8), (4, 8), (8, 8)):
        yield from ((depth, lanes, bits) for depth in (*_SHALLOW, *_DEEP))
    yield from ((depth, 4, 16) for depth in _DEEP)


def measure(shapes: list[tuple[int, int, int]]) -> list[dict[str, int]]:
    with tempfile.TemporaryDirectory(prefix="qvit-ram-") as name:
        folder = Path(name)
        (folder / "ram.sv").write_bytes((RTL / "memory" / "ram.sv").read_bytes())
        lines = [
            step.format(depth=depth, lanes=lanes, bits=bits, name=i)
            for i, (depth, lanes, bits) in enumerate(shapes)
            for step in _STEPS
        ]
        (folder / "all.ys").write_text("\n".join(lines))
        subprocess.run([*require_yosys().command, "-q", "-s", "all.ys"], cwd=folder, check=True)
        return [record(shape, folder / f"{i}.json") for i, shape in enumerate(shapes)]


def record(shape: tuple[int, int, int], path: Path) -> dict[str, int]:
    cells: dict[str, int] = json.loads(path.read_text())["design"]["num_cells_by_type"]
    return {
        **dict(zip(("depth", "lanes", "lane_bits"), shape, strict=True)),
        "bram18": 2 * cells.get("RAMB36E2", 0) + cells.get("RAMB18E2", 0),
        "lutram": sum(count * lut_memory_sites(kind) for kind, count in cells.items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/area/ram_geometry.json"))
    arguments = parser.parse_args()
    records = measure(list(grid()))
    write_json(arguments.out, {"tool": f"Yosys {require_yosys().version}", "records": records})
    wrong = [r for r in records if not _agrees(r)]
    print(f"{len(records)} memories, {len(wrong)} of them modelled wrongly")
    for r in wrong:
        print(r)
    sys.exit(bool(wrong))


def _agrees(r: dict[str, int]) -> bool:
    modelled = memory(r["depth"], r["lanes"], r["lane_bits"])
    return (int(modelled.bram18), int(modelled.lutram)) == (r["bram18"], r["lutram"])


if __name__ == "__main__":
    main()
