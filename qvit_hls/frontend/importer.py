"""PyTorch module to float graph: torch.export traces it, handlers translate each operator.

Whatever does not depend on the input is computed here, so weights, expanded tokens and position
embeddings arrive as constants.
"""

from __future__ import annotations

import copy
import operator
import re
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from qvit_hls.errors import QvitError
from qvit_hls.frontend import aten_compute, aten_layout, quantizers
from qvit_hls.frontend.builder import Folded, GraphBuilder, Result, Symbol, Unsupported, Value, to_array
from qvit_hls.frontend.decompositions import DECOMPOSITIONS, add_what_is_stacked
from qvit_hls.frontend.registry import (
    HANDLERS,
    KEEP_TRACK_OF_BATCH,
    KEEP_TRACK_OF_MERGED_BATCH,
    require,
    supported_operators,
)
from qvit_hls.ir.float_ops import Input
from qvit_hls.ir.graph import Graph

#: Importing these has filled HANDLERS.
_HANDLER_MODULES = (aten_compute, aten_layout, quantizers)
#: Images traced at once. Two, because torch.export specialises on one, and nothing here needs more.
_BATCH = 2
#: Operators that only check their argument, which the trace has done.
_WITHOUT_VALUE = {"aten._assert_tensor_metadata.default"}
#: Operators under which row-quantized weights stay row-quantized.
_KEEPS_ROWS = {"aten.reshape.default", "aten.view.default", "aten.flatten.using_ints", "aten.clone.default"}


def import_module(module: nn.Module, example: Tensor, name: str) -> Graph:
    """Trace ``module`` in evaluation mode and translate it to a float graph.

    Args:
        module: takes one float tensor and returns one, or an object with ``logits``; not changed.
        example: an input ``[batch, ...]``, for its shape.
        name: the graph's name.

    Raises:
        QvitError: the module cannot be traced, or uses operators that the IR does not have; all of them
            are listed, with the module each is in.
    """
    program = _trace(module, example)
    walk = _Walk(program)
    outputs = walk.run()
    if walk.problems:
        supported = ", ".join(supported_operators())
        problems = dict.fromkeys(walk.problems)  # a module that is called twice is reported once
        raise QvitError([*problems, f"Supported operators are: {supported}."])
    return walk.builder.finish(name, outputs)


def _trace(module: nn.Module, example: Tensor) -> ExportedProgram:
    batch = example[:1].expand(_BATCH, *example.shape[1:]).contiguous()
    model = _with_logits_alone(copy.deepcopy(module).eval())
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch.export's, of its own parts
            # This also makes in-place operators functional.
            return torch.export.export(model, (batch,)).run_decompositions(dict(DECOMPOSITIONS))
    except Exception as error:  # torch.export raises whatever its parts and the module raise
        first_line = str(error).strip().split("\n")[0]
        raise QvitError(f"torch.export cannot trace the model: {first_line}") from error


def _with_logits_alone(model: nn.Module) -> nn.Module:
    """``model``, changed to return the ``logits`` of what it returns, where that is no tensor.

    A module around it would do the same, but stand in front of every module path.
    """
    forward = model.forward

    def logits(images: Tensor) -> Tensor:
        output = forward(images)
        if not isinstance(output, Tensor):
            output = getattr(output, "logits", output)
        if not isinstance(output, Tensor):
            raise TypeError(f"it returns a {type(output).__name__}; it must return a tensor or have logits")
        return output

    model.forward = logits
    return model


class _Walk:
    """One pass over the operators of an exported program."""

    def __init__(self, program: ExportedProgram) -> None:
        add_what_is_stacked(program.graph)
        program.graph.eliminate_dead_code()
        self.program = program
        self.builder = GraphBuilder(_BATCH)
        self.problems: list[str] = []
        self._values: dict[fx.Node, Result | None] = {}  # None: cannot be had

    def run(self) -> list[Symbol]:
        """Translate every operator; problems are collected, not raised."""
        outputs: list[Symbol] = []
        placeholders = self._placeholders()
        for node in self.program.graph.nodes:
            self.builder.source = _module_path(node)
            if node.op == "placeholder":
                self._values[node] = placeholders[node.name]()
            elif node.op == "output":
                values = [self._values[value] for value in node.args[0]]
                outputs = [self._output(value) for value in values if value is not None]
            else:
                self._values[node] = self._translate(node)
        return outputs

    def _placeholders(self) -> dict[str, Callable[[], Value]]:
        """For every placeholder, what makes its value: the input, or a parameter, buffer or constant."""
        makers: dict[str, Callable[[], Value]] = {}
        tensors = {**self.program.constants, **self.program.state_dict}
        shapes = {n.name: n.meta["val"].shape for n in self.program.graph.nodes if n.op == "placeholder"}
        for spec in self.program.graph_signature.input_specs:
            placeholder = spec.arg.name
            if spec.kind is InputKind.USER_INPUT:
                makers[placeholder] = lambda p=placeholder: self._input(p, shapes[p])  # type: ignore[misc]
            else:
                target = str(spec.target)
                makers[placeholder] = lambda t=target: Folded(tensors[t].detach(), t)  # type: ignore[misc]
        return makers

    def _input(self, name: str, shape: torch.Size) -> Symbol:
        self.builder.source = name
        return self.builder.emit(Input(tuple(int(n) for n in shape[1:])))

    def _output(self, value: Result) -> Symbol:
        assert not isinstance(value, list)  # the program's outputs are tensors
        if isinstance(value, Symbol) and not value.is_plain:
            self._report("the output's batch dimension is not in front.")
        return self.builder.symbol(value)

    def _translate(self, node: fx.Node) -> Result | None:
        name = str(node.target)
        if name in _WITHOUT_VALUE:
            return None
        handler = HANDLERS.get(name)
        read = [self._values[n] for n in node.all_input_nodes]
        if node.target is operator.getitem and isinstance(read[0], list):
            part: Value = read[0][node.args[1]]  # type: ignore[index]
            return part
        if isinstance(node.target, torch._ops.OpOverload) and all(isinstance(v, Folded) for v in read):
            if torch.Tag.nondeterministic_seeded in node.target.tags:
                self._report(f"{name} is not supported, because it is random.")
                return None
            return self._fold(node)
        if handler is None:
            # Plain Python functions only take results of operators apart; those are reported already.
            if isinstance(node.target, torch._ops.OpOverload) or None not in read:
                self._report(f"{name} is not supported.")
            return self._stand_in(node.meta.get("val"))
        if None in read:
            return None
        try:
            symbols = [value for value in read if isinstance(value, Symbol)]
            plain, merged = all(x.is_plain for x in symbols), any(x.merged is not None for x in symbols)
            known = name in (KEEP_TRACK_OF_MERGED_BATCH if merged else KEEP_TRACK_OF_BATCH)
            require(plain or known, "while the batch dimension is not in front")
            args, kwargs = _substitute(node, self._values.__getitem__)
            return handler(self.builder, node, *args, **kwargs)
        except Unsupported as reason:
            self._report(f"{name} is not supported {reason}.")
            return self._stand_in(node.meta.get("val"))

    def _stand_in(self, value: Any) -> Any:
        """A value of the right shape for one that cannot be had, so that its readers are checked too."""
        if isinstance(value, list | tuple):
            return [self._stand_in(part) for part in value]
        if not isinstance(value, Tensor) or value.dim() == 0 or value.shape[0] != _BATCH:
            return None
        return self.builder.emit(Input(tuple(int(n) for n in value.shape[1:])))

    @torch.no_grad()
    def _fold(self, node: fx.Node) -> Result:
        """Compute an operator whose arguments are all constant, or that makes a constant."""
        assert callable(node.target)
        folded = {n: v for n in node.all_input_nodes for v in [self._values[n]] if isinstance(v, Folded)}
        args, kwargs = _substitute(node, lambda n: folded[n].tensor)
        result = node.target(*args, **kwargs)
        first = next(iter(folded.values()), Folded(torch.empty(0)))
        name = str(node.target)
        if isinstance(result, list | tuple):
            return [Folded(part, first.origin) for part in result]
        if name == "qvit.fake_quantize_rows.default":
            _, scale, bits = folded.values()
            row_bits = bits.tensor.detach().cpu().numpy().astype("uint8")
            return Folded(result, first.origin, to_array(scale.tensor).astype("float64"), row_bits)
        if name in _KEEPS_ROWS and result.shape[:1] == first.tensor.shape[:1]:
            return Folded(result, first.origin, first.row_scale, first.row_bits)
        return Folded(result, first.origin)

    def _report(self, problem: str) -> None:
        self.problems.append(f"{self.builder.source or 'the model itself'}: {problem}")


def _substitute(node: fx.Node, function: Callable[[fx.Node], Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of ``node`` with ``function(n)`` in place of every fx node n in them."""

    def visit(argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            return function(argument)
        return [visit(a) for a in argument] if isinstance(argument, list | tuple) else argument

    return visit(node.args), {key: visit(argument) for key, argument in node.kwargs.items()}


def _module_path(node: fx.Node) -> str:
    """Path of the innermost module that a node comes from; repeated calls (``quant@1``) share one."""
    stack = node.meta.get("nn_module_stack") or {}
    path = str(list(stack.values())[-1][0]) if stack else ""
    return re.sub(r"@\d+", "", path)
