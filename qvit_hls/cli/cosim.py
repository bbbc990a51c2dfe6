"""``qvit-hls cosim``: prove a generated project's RTL with Verilator and cocotb, and count its cycles."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Prove a project's RTL by simulation, and count its cycles.")
@click.argument("build", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="FILE.npz", help="Images, and perhaps labels."
)
@click.option("--images", type=click.IntRange(min=1), metavar="N", help="Number of images. [default: all]")
@click.option(
    "--packed", is_flag=True, help="Simulate the DSP48E2 and LUT primitives instead of the sums they make."
)
@click.option(
    "--stalls",
    type=click.FloatRange(min=0, max=0.95),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Hold every stream back in this share of the cycles, at random.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all that is random."
)
@click.option(
    "--logits", is_flag=True, help="Run without the trace only: compare the logits alone, and count cycles."
)
@click.option("--layers", metavar="PATTERN", help="Show only these layers, such as 'blocks.0.*'.")
@click.option("--trace", is_flag=True, help="Write a waveform of all signals; slow, and large.")
@click.option(
    "--timeout",
    type=click.IntRange(min=100),
    default=200_000,
    show_default=True,
    metavar="CYCLES",
    help="End a run that makes no progress for so long.",
)
@click.option(
    "--limit",
    type=click.FloatRange(min=0, min_open=True),
    default=3600.0,
    show_default=True,
    metavar="SECONDS",
    help="Longest time for one image.",
)
@click.option(
    "--rtl",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Simulate RTL that Vitis HLS made of the whole top, instead of the project's.",
)
@click.option(
    "--json", "json_path", type=click.Path(path_type=Path), metavar="PATH", help="Copy the report here."
)
@click.option("--quiet", is_flag=True, help="No progress, and of the result only the verdict.")
def cosim(
    build: Path,
    data: Path | None,
    images: int | None,
    packed: bool,
    stalls: float,
    seed: int,
    logits: bool,
    layers: str | None,
    trace: bool,
    timeout: int,
    limit: float,
    rtl: Path | None,
    json_path: Path | None,
    quiet: bool,
) -> None:
    """Prove the RTL of the generated project BUILD by simulation.

    Verilator simulates it with the project's own program and weights; every layer's output is compared with
    the golden integer graph: every value must be equal. A second run without the trace counts the cycles.

    Without --data, the random images run that gen made. The report is written to BUILD/reports; at a
    mismatch, or when the design hangs, the exit code is 1.
    """
    from qvit_hls.cli.console import progress, results
    from qvit_hls.flow.output import write_json
    from qvit_hls.report.cosim import cosim_verdict, cycle_table, layer_table
    from qvit_hls.verify.cosim import run_cosim, select_layers
    from qvit_hls.verify.rtl.stalls import Stalls

    for option, given in (("--packed", packed), ("--logits", logits)):
        if given and rtl is not None:
            raise click.UsageError(f"{option} is about the project's own RTL; leave it out with --rtl.")
    selected = None if layers is None else select_layers(build, layers)
    with progress(quiet) as update:
        if rtl is None:
            report = run_cosim(
                build,
                data=data,
                count=images,
                packed=packed,
                stalls=Stalls(stalls, seed),
                waves=trace,
                traced=not logits,
                patience=timeout,
                seconds=limit,
                progress=update,
            )
        else:
            from qvit_hls.verify.cosim_axi import run_cosim_axi

            report = run_cosim_axi(
                build,
                rtl,
                data=data,
                count=images,
                stalls=Stalls(stalls, seed),
                waves=trace,
                patience=timeout,
                seconds=limit,
                progress=update,
            )
    if json_path is not None:
        write_json(json_path, report.to_json())
    console = results()
    if not quiet:
        console.print(layer_table(report, selected))
        console.print()
        if report.cycles is not None:
            console.print(cycle_table(report.cycles))
            console.print()
    console.print(cosim_verdict(report), soft_wrap=True)
    if not report.passed:
        raise SystemExit(1)
