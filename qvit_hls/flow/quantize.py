"""The verb ``quantize``: from a float network and a few images to a model file on the accelerator's grids."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qvit_hls.errors import QvitError
from qvit_hls.flow.calibration_images import ImageFormat, calibration_images
from qvit_hls.flow.cycle_target import FrameCycles, frame_cycles
from qvit_hls.flow.graph_model import load_any_model, save_graph_model
from qvit_hls.flow.images import read_images
from qvit_hls.flow.output import write_json
from qvit_hls.flow.quantization_request import QuantizationRequest
from qvit_hls.flow.threads import one_torch_thread
from qvit_hls.frontend.compile import float_graph
from qvit_hls.frontend.model_source import load_model
from qvit_hls.hw.explore.configuration import check_structure
from qvit_hls.hw.row_cost import RowCost
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.lowering import lower
from qvit_hls.ir.pipeline import INTEGER_PASSES, run_passes
from qvit_hls.ptq.calibration import Progress
from qvit_hls.ptq.method_settings import settings_of
from qvit_hls.ptq.methods import Method
from qvit_hls.ptq.quality import Quality, compare
from qvit_hls.ptq.quantize import QuantizationSettings, Quantized, quantize_graph
from qvit_hls.ptq.single_precision import with_single_precision_weights


@dataclass(frozen=True, eq=False)
class QuantizationResult:
    """What quantize did.

    Attributes:
        request: what was asked for.
        method: with its settings.
        quantized: the network.
        quality: how near it is to the float network.
        calibration_images: how many were used.
        origin: what it was compared on.
        frame: cycles, where rows were chosen by them.
    """

    request: QuantizationRequest
    method: Method
    quantized: Quantized
    quality: Quality
    calibration_images: int
    origin: str
    frame: FrameCycles | None = None

    def to_json(self) -> dict[str, Any]:
        """The report: plain values."""
        eight = {name: int((bits == 8).sum()) for name, bits in self.quantized.rows.items()}
        return {
            "model": self.request.model,
            "method": self.request.method,
            "method_settings": dict(settings_of(self.method)),
            "activation_bits": self.request.bits,
            "average_weight_bits": self.quantized.average_bits,
            "calibration_images": self.calibration_images,
            "compared_on": self.origin,
            "frame": None if self.frame is None else self.frame.to_json(),
            **self.quality.to_json(),
            "rows": {
                name: {
                    "rows": len(bits),
                    "eight_bit": eight[name],
                    **self.quantized.errors[name].to_json(),
                }
                for name, bits in self.quantized.rows.items()
            },
            "ranges": [found.to_json() for found in self.quantized.ranges],
        }


def quantize_module(
    module: nn.Module,
    images: Tensor,
    settings: QuantizationSettings | None = None,
    *,
    name: str = "model",
    cache: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> tuple[Graph, Quantized]:
    """Quantize a float network in memory.

    Args:
        module: takes one float tensor and returns one; in evaluation mode.
        images: calibration images ``[n, C, H, W]``, as the network takes them.
        settings: defaults where left out.
        name: of the graph.
        cache: folder of the calibration cache.
        progress: told how far each stage is.

    Returns:
        The float graph, and what was made of it; ``flow.graph_model.save_graph_model`` writes its graph.

    Raises:
        QvitError: the network uses what the IR does not have, or what ``ptq.quantize.quantize_graph`` says.
    """
    graph = _traced(module, images, name, progress)
    return graph, quantize_graph(graph, images, settings, cache, progress, _check_engine)


def _check_engine(integer: Graph) -> None:
    """Raise what no accelerator can run."""
    check_structure(run_passes(integer, INTEGER_PASSES))


def _traced(module: nn.Module, images: Tensor, name: str, progress: Progress) -> Graph:
    if images.dim() != 4 or not len(images):
        raise QvitError(
            f"Calibration images have shape {list(images.shape)}; it should be [n, channels, height, width] "
            "with n at least 1."
        )
    progress("export", 0, 1)
    graph = float_graph(module, torch.zeros_like(images[:1], dtype=torch.float32), name)
    progress("export", 1, 1)
    return with_single_precision_weights(graph)


@one_torch_thread()
def quantize(
    request: QuantizationRequest, progress: Progress = lambda stage, done, total: None
) -> QuantizationResult:
    """Quantize a network, compare it with the float one, and write model file and report.

    Args:
        request: what to do.
        progress: told how far each stage is.

    Raises:
        QvitError: all problems of the stage that fails; then nothing is written.
    """
    settings = request.settings(progress)
    network, wanted = _float_network(request)
    calibration = calibration_images(request.calibration, wanted, request.images)
    data = calibration if request.data is None else read_images(request.data, wanted.shape, wanted.classes)
    images = torch.from_numpy(calibration.images)
    name = os.fsencode(request.out.stem).decode(errors="replace")
    graph = _traced(network, images, name, progress)
    del network  # its memory is wanted
    quantized = quantize_graph(graph, images, settings, request.cache, progress, _check_engine)
    del graph
    labels = None if data.labels is None else torch.from_numpy(data.labels)
    integer = lower(quantized.graph)
    frame = None
    if isinstance(quantized.cost, RowCost):
        frame = frame_cycles(integer, quantized.cost, exists=request.for_build is not None)
    shown = torch.from_numpy(data.images)
    quality = compare(quantized.reference, quantized.graph, integer, shown, labels, progress=progress)
    result = QuantizationResult(request, settings.method, quantized, quality, len(images), data.origin, frame)
    try:
        request.out.parent.mkdir(parents=True, exist_ok=True)
        save_graph_model(quantized.graph, request.out)
    except OSError as error:
        raise QvitError(f"The file {request.out} cannot be written: {error.strerror}.") from error
    if request.report is not None:
        write_json(request.report, result.to_json())
    return result


def _float_network(request: QuantizationRequest) -> tuple[nn.Module, ImageFormat]:
    """The network, in float, and what it takes."""
    if request.model.endswith(".pt"):
        if request.weights is not None or request.classes is not None:
            raise QvitError(
                f"{request.model} has its weights and classes; --weights and --classes are for models of "
                "timm and transformers."
            )
        network = load_any_model(Path(request.model))
        if isinstance(network, Graph):
            raise QvitError(
                f"{request.model} is quantized already; post-training quantization starts from a float "
                "network."
            )
        network.set_quantization(False)
        config = network.config
        shape = config.channels, config.image_size, config.image_size
        return network, ImageFormat(shape, config.classes, config.mean, config.std)
    found = load_model(request.model, request.weights, request.classes)
    return found.module, ImageFormat(found.image_shape, found.classes, found.mean, found.std)
