"""``qvit-hls quantize``: from a float network to a model file on the accelerator's grids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from qvit_hls.cli.options import board_option, clock_option, for_option, mac_option, tile_option

if TYPE_CHECKING:
    from qvit_hls.hw.accelerator import Mac


@click.command(short_help="Quantize a float network after its training.")
@click.argument("model", metavar="MODEL")
@click.option("--weights", type=click.Path(path_type=Path), metavar="FILE.safetensors",
              help="Weights of a model of timm or transformers.")  # fmt: skip
@click.option("--classes", type=click.IntRange(min=1), metavar="N",
              help="Of a timm model, where it has another number than published.")  # fmt: skip
@click.option("--calib", "calibration", type=click.Path(path_type=Path), required=True, metavar="IMAGES",
              help="Calibration images: .npz file with 'images', or folder of image files.")  # fmt: skip
@click.option("--images", type=click.IntRange(min=1), metavar="N", help="Take only the first N of them.")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="FILE",
              help="Model file to write.")  # fmt: skip
@click.option("--method", default="auto", show_default=True, metavar="NAME",
              help="auto, minmax, percentile, mse, easyquant, ptq4vit, fqvit, repq, erq, brecq.")  # fmt: skip
@click.option("--set", "method_settings", multiple=True, metavar="NAME=VALUE",
              help="A setting of the method; may be given many times.")  # fmt: skip
@click.option("--bits", type=int, default=7, show_default=True, metavar="A",
              help="Bits of activations that enter matrix products, 4 to 8.")  # fmt: skip
@click.option("--eight-bit-share", type=float, metavar="SHARE",
              help="8-bit rows of every layer, 0 to 1; the others have 4 bits. [default: 0.25]")  # fmt: skip
@click.option("--avg-bits", "average_bits", type=float, metavar="BITS",
              help="Instead: bits of a weight on average, 4 to 8, over all layers.")  # fmt: skip
@click.option("--max-cycles", type=click.IntRange(min=1), metavar="N",
              help="Instead: 8-bit rows where they help most, in frames of at most N cycles.")  # fmt: skip
@click.option("--target-fps", type=float, metavar="FPS",
              help="Instead: the same, from frames per second.")  # fmt: skip
@click.option("--free-rows", is_flag=True,
              help="Instead: the same, with no more cycles than 4-bit rows alone take.")  # fmt: skip
@board_option
@clock_option
@tile_option
@mac_option
@for_option
@click.option("--data", type=click.Path(path_type=Path), metavar="FILE.npz",
              help="Images, perhaps labels, to compare on. [default: the calibration images]")  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path), metavar="PATH",
              help="Write the comparison, layer by layer, as JSON.")  # fmt: skip
@click.option("--plots", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Draw ranges of values, sensitivity of layers and SQNR there.")  # fmt: skip
@click.option("--cache", type=click.Path(path_type=Path), metavar="FOLDER",
              help="Keep the calibration here: one that was stopped goes on.")  # fmt: skip
@click.option("--quiet", is_flag=True, help="No progress and no table.")
def quantize(
    model: str,
    weights: Path | None,
    classes: int | None,
    calibration: Path,
    images: int | None,
    out: Path,
    method: str,
    method_settings: tuple[str, ...],
    bits: int,
    eight_bit_share: float | None,
    average_bits: float | None,
    max_cycles: int | None,
    target_fps: float | None,
    free_rows: bool,
    board: str | None,
    clock_mhz: float | None,
    tile: tuple[int, int, int] | None,
    mac: Mac | None,
    for_build: Path | None,
    data: Path | None,
    report: Path | None,
    plots: Path | None,
    cache: Path | None,
    quiet: bool,
) -> None:
    """Quantize a float network with a few images, without training.

    MODEL is timm:NAME or hf:NAME, a folder with the config.json of a classifier of transformers, or a model
    file of this project, MODEL.pt, whose own quantization is ignored. FILE is such a model file, which gen,
    estimate and explore take like any other. The integer graph is compared with the float network, layer by
    layer.

    With --max-cycles, --target-fps or --free-rows, cycles count on the accelerator that gen would choose for
    4-bit rows only.
    """
    from qvit_hls.cli.console import progress, results
    from qvit_hls.flow.output import write_file
    from qvit_hls.flow.quantization_request import QuantizationRequest
    from qvit_hls.flow.quantize import quantize as run
    from qvit_hls.report.quantize import quantization_table
    from qvit_hls.report.quantize_plots import check_plot_folder, quantization_plots

    if plots is not None:
        check_plot_folder(plots)

    request = QuantizationRequest(
        model=model,
        weights=weights,
        classes=classes,
        calibration=calibration,
        out=out,
        images=images,
        method=method,
        method_settings=method_settings,
        bits=bits,
        eight_bit_share=eight_bit_share,
        average_bits=average_bits,
        max_cycles=max_cycles,
        target_fps=target_fps,
        free_rows=free_rows,
        board=board,
        clock_mhz=clock_mhz,
        tile=tile,
        mac=mac,
        for_build=for_build,
        data=data,
        report=report,
        cache=cache,
    )
    with progress(quiet) as update:
        result = run(request, update)
    if plots is not None:
        for name, content in quantization_plots(result).items():
            write_file(plots / name, content)
    if not quiet:
        results().print(quantization_table(result), soft_wrap=True)
