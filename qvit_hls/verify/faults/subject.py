"""The project that faults are planted in, and what its golden graph says about its own test images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from qvit_hls.errors import QvitError
from qvit_hls.flow.build import read_build, read_json_object
from qvit_hls.flow.images import load_images
from qvit_hls.hw.accelerator import AcceleratorConfig, parse_accelerator
from qvit_hls.hw.gemm_timing import RowTile, row_tiles
from qvit_hls.ir.file_format import load_graph
from qvit_hls.ir.graph import Graph, Op
from qvit_hls.verify.faults.weight_stream import WeightStream
from qvit_hls.verify.trace import TraceLayout, read_layout


@dataclass(frozen=True)
class ProgramLayer:
    """A layer of ``program.json``.

    Attributes:
        index: place in the program.
        unit: part of the accelerator that runs it (``gemm``, ``softmax``, ...).
        words: the descriptor's fields by name.
    """

    index: int
    name: str
    unit: str
    words: Mapping[str, int]

    @property
    def node(self) -> str:
        """The graph node that the layer, or one head of it, computes (before table and residual add)."""
        return self.name.partition("[")[0]

    @property
    def head(self) -> int | None:
        """Index of the attention head, where every head is a layer of its own."""
        number = self.name.partition("[")[2]
        return int(number[:-1]) if number else None

    def tiles(self, config: AcceleratorConfig) -> list[RowTile]:
        """Row tiles of a GEMM."""
        return row_tiles(self.words["rows"], self.words["rows8"], config.tile_rows)


class Subject:
    """A generated project, opened for planting; nothing in its folder is changed."""

    def __init__(self, folder: Path) -> None:
        """Open a project.

        Raises:
            QvitError: it is not a whole project of this version.
        """
        self.folder = folder
        self.data = read_build(folder).simulation.data
        self.config = parse_accelerator(_text(folder / "accelerator.json"), str(folder / "accelerator.json"))
        path = folder / "program.json"
        try:
            self.layers = tuple(
                ProgramLayer(index, str(item["name"]), str(item["unit"]), item["descriptor"])
                for index, item in enumerate(read_json_object(path)["layers"])
            )
            ports = [(folder / name).read_bytes() for name in self.port_files]
            self.stream = WeightStream(
                ports, [(layer.name, layer.unit, layer.words) for layer in self.layers], self.config
            )
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise QvitError(
                f"{folder} is not a whole project of this version ({error}). Make it again with qvit-hls gen."
            ) from error

    @property
    def port_files(self) -> list[str]:
        """Files of the weight stream, one per port."""
        return [f"{self.data}/weights{port}.bin" for port in range(self.config.weight_ports)]

    @cached_property
    def graph(self) -> Graph:
        """The golden integer graph."""
        return load_graph(self.folder)

    @cached_property
    def layout(self) -> TraceLayout:
        """Which layers are compared, and with what."""
        return read_layout(self.folder / "program.json", self.graph)

    @cached_property
    def values(self) -> dict[str, np.ndarray]:
        """Every value of the golden graph on the project's own images."""
        return self.values_with({})

    def values_with(self, changed: Mapping[str, Op]) -> dict[str, np.ndarray]:
        """The same with other operations in some nodes: what a fault in the data would compute."""
        nodes = [
            replace(node, op=changed[node.name]) if node.name in changed else node for node in self.graph
        ]
        images = torch.from_numpy(load_images(self.folder / "vectors" / "images.npz", self.graph).images)
        values = self.graph.with_nodes(nodes).run(images)
        return {name: value.numpy() for name, value in values.items()}

    def normalized(self, layer: ProgramLayer) -> np.ndarray:
        """Codes ``[images, tokens, k]`` of a LayerNorm, or of one group of its channels."""
        first = (layer.head or 0) * layer.words["k"]
        return self.values[layer.node][..., first : first + layer.words["k"]]

    def shown(self, layer: ProgramLayer) -> str:
        """The first layer that is compared from this one on: itself, where its result is in the trace."""
        traced = {tensor.layer for tensor in self.layout.tensors}
        return next((later.name for later in self.layers[layer.index :] if later.name in traced), layer.name)

    def traced_node(self, layer: ProgramLayer) -> str:
        """The graph node whose value the layer's result is compared with."""
        return next(tensor.entry.node for tensor in self.layout.tensors if tensor.layer == self.shown(layer))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise QvitError(f"The project lacks {path}. Make it again with qvit-hls gen.") from error
