"""Run a float graph over calibration images, a few at a time, and gather what the methods need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from qvit_hls.errors import QvitError
from qvit_hls.ir.float_ops import Input, Linear
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.interpreter import steps
from qvit_hls.ptq.calibration_cache import CalibrationCache, calibration_key
from qvit_hls.ptq.observations import Observations, sampled_values
from qvit_hls.ptq.placement import Placement

#: Called with a stage's name, and how many of how many steps are done in it.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CalibrationSettings:
    """How calibration runs.

    Attributes:
        batch_size: images at a time; memory grows with it.
        samples: elements kept of each value, over all images.
        seed: of the directions in which derivatives of the outputs are taken.
        save_seconds: a cache is written when the last time was longer ago than this.
    """

    batch_size: int = 4
    samples: int = 1 << 16
    seed: int = 0
    save_seconds: float = 30.0


def check_images(graph: Graph, images: Tensor, fewest: int) -> None:
    """Check calibration images.

    Args:
        graph: float, with one input.
        images: ``[n, *shape of the input]``.
        fewest: how many the method needs.

    Raises:
        QvitError: everything that is wrong with them.
    """
    problems = []
    shapes = [node.shape for node in graph if isinstance(node.op, Input)]
    if len(shapes) != 1:
        raise QvitError(f"The graph {graph.name} has {len(shapes)} inputs; it should have one, the image.")
    if tuple(images.shape[1:]) != shapes[0]:
        wanted = ", ".join(map(str, shapes[0]))
        problems.append(f"Calibration images have shape {list(images.shape)}; it should be [n, {wanted}].")
    if len(images) < max(fewest, 1):
        problems.append(
            f"There are {len(images)} calibration images; the method needs at least {max(fewest, 1)}."
        )
    if not images.is_floating_point():
        problems.append(f"Calibration images are {images.dtype}; they should be floating-point numbers.")
    else:
        finite = images.flatten(1).isfinite().all(dim=1) if len(images) else torch.ones(0, dtype=torch.bool)
        bad = (~finite).nonzero().flatten().tolist()
        if bad:
            problems.append(
                f"{len(bad)} of {len(images)} calibration images contain NaN or infinity, the first is image "
                f"{bad[0]}; every value should be finite."
            )
    if problems:
        raise QvitError(problems)


def observe(
    graph: Graph,
    placement: Placement,
    images: Tensor,
    settings: CalibrationSettings | None = None,
    cache: Path | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Observations:
    """Run ``graph`` over all images, one batch after the other.

    Memory holds the values of one batch with their derivatives, and the observations: for each input of a
    linear layer a matrix of its channels.

    Args:
        graph: float, after FLOAT_PASSES, without annotations.
        placement: its grids.
        images: float32 ``[n, *shape of the input]``, checked.
        settings: how to run; the defaults where left out.
        cache: folder that keeps what has been seen. A calibration that was stopped goes on from there; one
            that is complete is not run again. Other weights, images or settings have other files.
        progress: told after each batch.

    Raises:
        QvitError: values that are not finite, by name.
    """
    settings = settings or CalibrationSettings()
    store = (
        None
        if cache is None
        else CalibrationCache(cache, calibration_key(graph, placement, images, settings))
    )
    seen = Observations() if store is None else store.load()
    saved = time.monotonic()
    progress("calibrate", seen.images, len(images))
    try:
        while seen.images < len(images):
            batch = images[seen.images : seen.images + settings.batch_size].float()
            seen = _after(seen, graph, placement, batch, len(images), settings)
            if store is not None and time.monotonic() - saved >= settings.save_seconds:
                store.save(seen)
                saved = time.monotonic()
            progress("calibrate", seen.images, len(images))
    finally:
        # Whatever stops it: what has been seen is whole batches.
        if store is not None and seen.images:
            store.save(seen)
    return seen


def _after(
    seen: Observations,
    graph: Graph,
    placement: Placement,
    batch: Tensor,
    total: int,
    settings: CalibrationSettings,
) -> Observations:
    """``seen`` with one more batch; ``seen`` itself stays as it was, whatever happens."""
    new = Observations(seen.images + len(batch))
    for name in ("largest", "samples", "moments", "sums", "tokens", "sensitivity"):
        setattr(new, name, dict(getattr(seen, name)))
    on_grids, sampled = placement.by_value(), set(sampled_values(placement))
    linear_inputs = {node.inputs[0] for node in graph if isinstance(node.op, Linear)}
    per_image = max(1, settings.samples // total)
    rows: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    batch = batch.clone().requires_grad_()
    with torch.enable_grad():
        for node, _, value in _finite(steps(graph, (batch,))):
            data = value.detach()
            if isinstance(node.op, Linear):
                rows[node.name] = value
            if node.name in graph.outputs:
                outputs[node.name] = value
            if node.name in on_grids:
                largest = data.abs().amax()
                new.largest[node.name] = torch.maximum(new.largest.get(node.name, largest), largest)
            if node.name in sampled:
                _append(new.samples, node.name, _spread(data, per_image))
            if node.name in linear_inputs:
                x = data.reshape(-1, data.shape[-1])
                _add(new.moments, node.name, x.T @ x)
                _add(new.sums, node.name, x.sum(0))
                _add(new.tokens, node.name, torch.tensor(float(len(x))))
        for name, gradient in output_gradients(rows, outputs, seen.images, settings.seed).items():
            _add(new.sensitivity, name, gradient.reshape(-1, gradient.shape[-1]).square().sum(0))
    return new


def _finite(
    run: Iterator[tuple[Node, tuple[Tensor, ...], Tensor]],
) -> Iterator[tuple[Node, tuple[Tensor, ...], Tensor]]:
    """Pass on what ``run`` yields, and refuse at its end if values were not finite.

    Raises:
        QvitError: names the values that are not finite though what they are computed from is.
    """
    bad: set[str] = set()
    problems = []
    for node, read, value in run:
        if not value.detach().isfinite().all():
            if not bad.intersection(node.inputs):
                problems.append(
                    f"{node.name}: the value contains NaN or infinity for a calibration image; a network can "
                    "be quantized only where every value is finite."
                )
            bad.add(node.name)
        yield node, read, value
    if problems:
        raise QvitError(problems)


def output_gradients(
    values: dict[str, Tensor], outputs: dict[str, Tensor], first_image: int, seed: int
) -> dict[str, Tensor]:
    """Derivatives by each of ``values``, of a random projection of the network's outputs.

    The square's expectation is the sum over the outputs of the squared derivatives (Gauss-Newton).

    Args:
        values: ``[batch, ...]``, with gradients.
        outputs: of the network, ``[batch, ...]``.
        first_image: number of the batch's first image, which with ``seed`` decides its direction.
        seed: as above.
    """
    scalar = torch.zeros(())
    for value in outputs.values():
        for i, output in enumerate(value):
            # By image, so that the size of batches changes nothing.
            generator = torch.Generator().manual_seed((seed << 32) + first_image + i)
            scalar = scalar + (output * torch.randn(output.shape, generator=generator)).sum()
    gradients = torch.autograd.grad(scalar, list(values.values()), allow_unused=True)
    return {
        name: torch.zeros_like(value) if gradient is None else gradient
        for (name, value), gradient in zip(values.items(), gradients, strict=True)
    }


def _spread(x: Tensor, per_image: int) -> Tensor:
    """About ``per_image`` elements of each image, ``[n]``."""
    flat = x.flatten(1)
    # An odd stride does not lock onto some channels of an even width.
    return flat[:, :: (flat.shape[1] // per_image) | 1].flatten()


def _add(sums: dict[str, Tensor], name: str, term: Tensor) -> None:
    sums[name] = sums[name] + term if name in sums else term


def _append(lists: dict[str, Tensor], name: str, part: Tensor) -> None:
    lists[name] = torch.cat([lists[name], part]) if name in lists else part
