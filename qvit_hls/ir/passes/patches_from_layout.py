"""Recognise patches that reshapes and permutations cut out of the image. Equal within float rounding."""

from __future__ import annotations

import math

import numpy as np

from qvit_hls.ir.float_ops import Conv2d, Input, Linear, Patches
from qvit_hls.ir.graph import Graph, Node
from qvit_hls.ir.passes.eliminate_dead import eliminate_dead
from qvit_hls.ir.passes.layout_indices import MOVEMENT, moved
from qvit_hls.ir.passes.linear_rows import take_columns
from qvit_hls.ir.passes.rewrite import Structure, substitute


def patches_from_layout(graph: Graph) -> Graph:
    """Reshapes and permutations of the image to ``[patches, pixels]`` -> Patches.

    Pixels of a patch may be in any order, the same in all patches: the columns of a linear layer that reads
    them are put into the order of Patches; for any other reader, a permutation matrix puts the pixels into
    theirs.
    """
    structure = Structure(graph)
    replacements: dict[str, list[Node]] = {}
    aliases: dict[str, str] = {}
    for node in graph:
        found = _patches(structure, node)
        if found is None:
            continue
        image, patches, order = found
        shape = patches.infer_shape((image.shape,))
        cut = Node(f"{node.name}.patches", patches, (image.name,), shape, source=node.source)
        sorted_already = np.array_equal(order, np.arange(len(order)))
        layers = [user for user in structure.users(node) if isinstance(user.op, Linear)]
        for layer in [] if sorted_already else layers:
            assert isinstance(layer.op, Linear)
            op = take_columns(layer.op, np.argsort(order))
            replacements[layer.name] = [
                Node(layer.name, op, (cut.name,), layer.shape, layer.quant, layer.source)
            ]
        if sorted_already or len(layers) == len(structure.users(node)):
            replacements[node.name] = [cut]
            aliases[node.name] = cut.name
        else:
            in_order = Linear(np.eye(len(order), dtype=np.float32)[order])
            replacements[node.name] = [
                cut,
                Node(node.name, in_order, (cut.name,), node.shape, source=node.source),
            ]
    return eliminate_dead(substitute(graph, replacements, aliases))


def _patches(structure: Structure, node: Node) -> tuple[Node, Patches, np.ndarray] | None:
    """The image, how it is cut, and which of a patch's pixels each column is, if that is what ``node`` is."""
    if not isinstance(node.op, MOVEMENT) or len(node.shape) != 2 or node.quant is not None:
        return None
    if all(isinstance(user.op, MOVEMENT) for user in structure.users(node)):
        return None
    chain = [node]
    while isinstance(chain[0].op, MOVEMENT):
        if chain[0].quant is not None:
            return None
        chain.insert(0, structure.producer(chain[0]))
    image, *steps = chain
    normalised = isinstance(image.op, Conv2d) and image.op.of_single_pixels
    if not (isinstance(image.op, Input) or normalised) or len(image.shape) != 3:
        return None
    channels, height, width = image.shape
    size = math.isqrt(node.shape[1] // channels)
    if not size or channels * size * size != node.shape[1] or height % size or width % size:
        return None
    index = np.arange(math.prod(image.shape)).reshape(image.shape)
    cut = index.reshape(channels, height // size, size, width // size, size)
    expected = cut.transpose(1, 3, 0, 2, 4).reshape(-1, node.shape[1])
    for step in steps:
        index = moved(step, index)
    if index.shape != expected.shape or not np.array_equal(np.sort(index[0]), np.sort(expected[0])):
        return None
    by_pixel = np.argsort(expected[0])
    order = by_pixel[np.searchsorted(expected[0], index[0], sorter=by_pixel)]
    return (image, Patches(size), order) if np.array_equal(index, expected[:, order]) else None
