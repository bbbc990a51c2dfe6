"""C-simulation speed of the same dense layers in hls4ml: its ``compile()`` and ``predict()`` with g++.

The layers are DeiT-Tiny's at 197 tokens. hls4ml 1.3 gets each as an ``nn.Linear`` on ``[tokens, channels]``
through its PyTorch converter (no other front end has to be installed), becomes a pointwise convolution
there, and runs with strategy Resource, streams, 8-bit weights and activations (``ap_fixed<8,1>``) and
accumulators that hold every sum. That each result is right is checked by equality before anything is timed.
With ``io_parallel`` the speed is the same, but compiling takes ten times as long.

``--ours FILE`` adds this project's side from the JSON of ``benchmarks/csim_speed.py`` and the ratio.

    python benchmarks/hls4ml_compare.py [--images N] [--ours FILE.json] [--json FILE.json]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from qvit_hls.flow.output import write_json

TOKENS = 197
#: Name, input channels, output channels.
LAYERS = (("qkv", 192, 576), ("proj", 192, 192), ("fc1", 192, 768), ("fc2", 768, 192))
_REPEATS = 3
_FRACTION_BITS = 7  # of weights and activations; results keep eight


@dataclass(frozen=True)
class LayerSpeed:
    """What one dense layer takes in hls4ml's C-simulation.

    Attributes:
        macs: multiply-accumulates of one image.
        compile_seconds: writing the project and g++.
        seconds_per_image: best of several runs.
    """

    layer: str
    tokens: int
    inputs: int
    outputs: int
    macs: int
    compile_seconds: float
    seconds_per_image: float

    @property
    def macs_per_second(self) -> float:
        return self.macs / self.seconds_per_image


def measure_hls4ml(layer: str, inputs: int, outputs: int, images: int, seed: int = 0) -> LayerSpeed:
    """Compile one dense layer with hls4ml, check its results, and time ``predict()``.

    Args:
        inputs, outputs: channels.
        images: sequences of ``TOKENS`` tokens in one call of ``predict()``.

    Raises:
        RuntimeError: hls4ml's results are not those of the layer.
    """
    import hls4ml
    import torch

    warnings.simplefilter("ignore")  # of hls4ml's optional front ends and passes

    generator = np.random.default_rng(seed)
    weight = generator.integers(-127, 128, (outputs, inputs))
    codes = generator.integers(-127, 128, (images, TOKENS, inputs))
    model = torch.nn.Sequential(torch.nn.Linear(inputs, outputs, bias=False)).eval()
    # Without its channels-last conversion, which would add transposes of the activations, hls4ml takes a
    # Linear's weight as [inputs, outputs].
    model[0].weight = torch.nn.Parameter(torch.from_numpy(weight.T / 2**_FRACTION_BITS).float())

    config = hls4ml.utils.config_from_pytorch_model(
        model,
        (TOKENS, inputs),
        granularity="name",
        backend="Vitis",
        default_precision="ap_fixed<8,1>",
        default_reuse_factor=inputs,
        channels_last_conversion="off",
    )
    for name, settings in config["LayerName"].items():
        settings["Strategy"] = "Resource"
        if name != next(iter(config["LayerName"])):
            settings["Precision"].update(
                weight="ap_fixed<8,1>", accum="ap_fixed<26,12>", result="ap_fixed<20,12>"
            )

    with tempfile.TemporaryDirectory(prefix="hls4ml-") as folder, contextlib.redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        converted = hls4ml.converters.convert_from_pytorch_model(
            model, output_dir=folder, backend="Vitis", hls_config=config, io_type="io_stream"
        )
        converted.compile()
        compile_seconds = time.perf_counter() - started
        x = (codes / 2**_FRACTION_BITS).astype(np.float32)
        result = converted.predict(x).reshape(images, TOKENS, outputs)
        # Products have 14 fraction bits; ap_fixed<20,12> keeps eight of them and rounds down.
        expected = (codes @ weight.T) >> (2 * _FRACTION_BITS - 8)
        if not np.array_equal(result * 256, expected):
            raise RuntimeError(f"hls4ml's result of {layer} is not the layer's; nothing was measured")
        seconds = []
        for _ in range(_REPEATS):
            started = time.perf_counter()
            converted.predict(x)
            seconds.append(time.perf_counter() - started)
    macs = TOKENS * inputs * outputs
    return LayerSpeed(layer, TOKENS, inputs, outputs, macs, compile_seconds, min(seconds) / images)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=4, help="images in one call of predict() (default 4)")
    parser.add_argument("--ours", type=Path, help="JSON of benchmarks/csim_speed.py")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    arguments = parser.parse_args()

    import hls4ml

    console = Console(width=110, highlight=False)
    speeds = []
    for layer, inputs, outputs in LAYERS:
        with console.status(f"hls4ml: {layer}, {inputs} to {outputs} channels"):
            speeds.append(measure_hls4ml(layer, inputs, outputs, arguments.images))
    total = sum(s.macs for s in speeds) / sum(s.seconds_per_image for s in speeds)

    table = Table(title=f"hls4ml {hls4ml.__version__}: dense layers at {TOKENS} tokens", box=None)
    table.add_column("Layer")
    for heading in ("Channels", "M MACs", "Compile s", "Image ms", "M MAC/s"):
        table.add_column(heading, justify="right")
    for speed in speeds:
        table.add_row(
            speed.layer,
            f"{speed.inputs} to {speed.outputs}",
            f"{speed.macs / 1e6:.1f}",
            f"{speed.compile_seconds:.1f}",
            f"{speed.seconds_per_image * 1e3:.0f}",
            f"{speed.macs_per_second / 1e6:.0f}",
        )
    console.print(table)
    console.print(f"all four layers: {total / 1e6:.0f} M MAC/s, one core")
    content = {
        "hls4ml": hls4ml.__version__,
        "machine": platform.machine(),
        "images": arguments.images,
        "macs_per_second": total,
        "layers": [{**asdict(speed), "macs_per_second": speed.macs_per_second} for speed in speeds],
    }
    if arguments.ours is not None:
        ours = json.loads(arguments.ours.read_text())
        content["ours"] = ours
        ratio = ours["dense_macs_per_second_one_core"] / total
        content["ratio_of_dense_layers_per_core"] = ratio
        console.print(
            f"qvit-hls, the same layers of {ours['shape']}, one core: "
            f"{ours['dense_macs_per_second_one_core'] / 1e6:.0f} M MAC/s, {ratio:.1f} x hls4ml"
        )
        whole = ours["macs_per_second"] / total
        content["ratio_of_whole_network"] = whole
        console.print(
            f"qvit-hls, the whole network on {ours['cores']} cores, every layer traced and compared: "
            f"{ours['macs_per_second'] / 1e6:.0f} M MAC/s, {whole:.1f} x hls4ml"
        )
    if arguments.json is not None:
        write_json(arguments.json, content)


if __name__ == "__main__":
    main()
