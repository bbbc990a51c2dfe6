"""From a PyTorch module to the graphs that everything else works on."""

from __future__ import annotations

from torch import Tensor, nn

from qvit_hls.frontend.importer import import_module
from qvit_hls.ir.graph import Graph
from qvit_hls.ir.lowering import lower
from qvit_hls.ir.pipeline import FLOAT_PASSES, INTEGER_PASSES, run_passes


def float_graph(module: nn.Module, example: Tensor, name: str, verify: bool = False) -> Graph:
    """``module`` as a float graph in terms of attention, linear layers and tokens, values annotated.

    Args:
        module: takes one float tensor and returns one.
        example: an input ``[batch, ...]``, for its shape.
        name: the graph's name.
        verify: check each pass by running the graph before and after it.

    Raises:
        QvitError: the module cannot be traced or uses what the IR does not have.
    """
    return run_passes(import_module(module, example, name), FLOAT_PASSES, verify)


def integer_graph(module: nn.Module, example: Tensor, name: str, verify: bool = False) -> Graph:
    """``module``, trained quantized, as the integer graph: the golden reference of everything downstream.

    Arguments as in ``float_graph``. The output has shape ``[1, classes]``.

    Raises:
        QvitError: as ``float_graph``; or values, weights or structure that the accelerator does not have.
    """
    return run_passes(lower(float_graph(module, example, name, verify)), INTEGER_PASSES, verify)
