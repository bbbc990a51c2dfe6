"""The proof of a pipeline's project: C-simulation, and RTL simulation where it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qvit_hls.errors import QvitError
from qvit_hls.flow.pipeline_settings import ProofSettings
from qvit_hls.hw.accelerator import Mac
from qvit_hls.verify.compare import LayerResult, Mismatch
from qvit_hls.verify.cosim import run_cosim
from qvit_hls.verify.csim import run_csim
from qvit_hls.verify.reference import Progress, Top1


def prove_project(
    project: Path, images: Path, settings: ProofSettings, engine: Mac, update: Progress
) -> dict[str, Any]:
    """Compare every value of every layer with the golden graph.

    Args:
        images: .npz file of normalised images with labels.

    Returns:
        For ``csim``, and ``cosim`` where asked for, the images, values and top-1 that were equal.

    Raises:
        QvitError: a value differs; or the project cannot be simulated.
    """
    csim = run_csim(project, data=images, count=settings.images, packed=settings.packed, progress=update)
    _require_equal("C-simulation", project, csim.first)
    proof = {"csim": _compared(csim.variant, csim.images, csim.layers, csim.top1)}
    if settings.cosim_images and engine == "rtl":
        cosim = run_cosim(project, data=images, count=settings.cosim_images, progress=update)
        _require_equal("RTL simulation", project, cosim.first)
        if cosim.problems:
            raise QvitError(f"The RTL simulation of {project}: {problem}" for problem in cosim.problems)
        proof["cosim"] = _compared(cosim.variant, cosim.images, cosim.layers, cosim.top1)
        proof["cosim"]["cycles"] = None if cosim.cycles is None else cosim.cycles.total
    return proof


def _require_equal(simulation: str, project: Path, first: Mismatch | None) -> None:
    if first is not None:
        raise QvitError(
            f"The {simulation} of {project} is not equal to the golden graph: layer "
            f"{first.tensor.layer}, image {first.image}, token {first.token}, "
            f"channel {first.channel}: expected {first.expected}, got {first.got}."
        )


def _compared(
    variant: str, images: int, layers: tuple[LayerResult, ...], top1: Top1 | None
) -> dict[str, Any]:
    return {
        "equal": True,
        "variant": variant,
        "images": images,
        "layers": len(layers),
        "values": sum(layer.values for layer in layers),
        "top1": None if top1 is None else top1.simulated,
    }
