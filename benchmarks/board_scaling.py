"""Predicted frames per second, and what binds, as the board grows.

For each DeiT shape (a quarter of the rows 8-bit) and board, the best accelerator that the exploration finds,
at one clock for all boards.
``boards/zcu102x4.yaml`` is no board that can be bought. Where nothing fits, the message says what is lacking.

    python benchmarks/board_scaling.py [--clock 200] [--mac rtl] [--json FILE] [--plot FILE.png]
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from qvit_hls.errors import QvitError
from qvit_hls.flow.explore import preset_graph
from qvit_hls.flow.output import write_file, write_json
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.hw.accelerator import Mac
from qvit_hls.hw.board import load_board
from qvit_hls.hw.explore.explore import explore
from qvit_hls.nets.presets import PRESETS
from qvit_hls.report.explore import design_json

BOARDS = ("kv260", "zcu104", "zcu102", str(Path(__file__).parent / "boards" / "zcu102x4.yaml"))


@one_torch_thread()
def measure(shape: str, bits: int, clock_mhz: float, mac: Mac) -> list[dict[str, Any]]:
    """One shape on every board."""
    graph = preset_graph(shape, bits)
    results = []
    for name in BOARDS:
        board = load_board(name)
        result: dict[str, Any] = {"shape": shape, "activation_bits": bits, "board": board.name, "mac": mac}
        try:
            found = explore([graph], board, clock_mhz, mac, fastest_only=True)
        except QvitError as error:
            results.append({**result, "fits": False, "problem": str(error)})
            continue
        results.append(
            {
                **result,
                "fits": True,
                **design_json(found.chosen, clock_mhz),
                "binding_constraint": {"kind": found.binding.kind, "sentence": found.binding.sentence},
            }
        )
    return results


def plot(results: list[dict[str, Any]], clock_mhz: float) -> bytes:
    """Bars of frames per second by board, with what binds, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shapes = list(dict.fromkeys(result["shape"] for result in results))
    figure, axes = pyplot.subplots(1, len(shapes), figsize=(4 * len(shapes), 4), layout="constrained")
    for axis, shape in zip([axes] if len(shapes) == 1 else axes, shapes, strict=True):
        mine = [result for result in results if result["shape"] == shape]
        rates = [result["frames_per_second"][0] if result["fits"] else 0 for result in mine]
        axis.bar([result["board"] for result in mine], rates, color="C0")
        for place, (result, rate) in enumerate(zip(mine, rates, strict=True)):
            binds = result["binding_constraint"]["kind"] if result["fits"] else "does not fit"
            axis.annotate(
                f"{rate:,.0f}\n{binds}" if result["fits"] else binds,
                (place, rate),
                textcoords="offset points",
                xytext=(0, 2),
                ha="center",
                fontsize=8,
            )
        axis.margins(y=0.18)
        axis.set_title(f"{shape}, A = {mine[0]['activation_bits']}")
    figure.supylabel(f"frames per second at {clock_mhz:g} MHz (modelled)")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    return content.getvalue()


def main() -> None:
    """Explore, print, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=list(PRESETS))
    parser.add_argument("--bits", type=int, default=7)
    parser.add_argument("--clock", type=float, default=200.0)
    parser.add_argument("--mac", choices=["hls", "rtl"], default="rtl")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    results = [
        result
        for shape in arguments.shapes
        for result in measure(shape, arguments.bits, arguments.clock, arguments.mac)
    ]
    table = Table(title=f"Best design by board at {arguments.clock:g} MHz (modelled)", box=SIMPLE)
    for heading in ("shape", "board", "T_n x T_m x T_k", "FPS", "LUT", "DSP", "BRAM36", "binds"):
        table.add_column(heading, justify="left" if heading in ("shape", "board", "binds") else "right")
    for r in results:
        if not r["fits"]:
            table.add_row(r["shape"], r["board"], "", "", "", "", "", r["problem"])
            continue
        tile = f"{r['tile_tokens']} x {r['tile_rows']} x {r['tile_depth']}"
        numbers = [f"{r['frames_per_second'][0]:,.1f}", *(f"{r[key]:,}" for key in ("lut", "dsp", "bram36"))]
        table.add_row(r["shape"], r["board"], tile, *numbers, r["binding_constraint"]["sentence"])
    Console(width=130).print(table)
    if arguments.json:
        content = {"benchmark": "board_scaling", "clock_mhz": arguments.clock, "results": results}
        write_json(arguments.json, content)
    if arguments.plot:
        write_file(arguments.plot, plot(results, arguments.clock))


if __name__ == "__main__":
    main()
