"""The model file ``model.pt``: written atomically, read without running anything in it, checked completely.

The format is specified in docs/model-format.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch
from torch import Tensor

from qvit_hls.errors import QvitError
from qvit_hls.nets.config import VitConfig, parse_config
from qvit_hls.nets.tensor_file import check_entries, file_tensors, read_tensor_file, write_tensor_file
from qvit_hls.nets.tensor_problems import tensor_problems
from qvit_hls.nets.vit import QuantVisionTransformer
from qvit_hls.quant.rows import MAX_BIAS_CODE

FORMAT = "qvit-hls model"
VERSION = 1

_KEYS = ("format", "version", "config", "tensors")
#: Rows with a fault that are listed one by one for each tensor; the others are counted.
_LISTED_ROWS = 4


def save_model(model: QuantVisionTransformer, path: str | os.PathLike[str]) -> None:
    """Write ``model`` to ``path``; an existing file is replaced in one step, or stays if writing fails.

    Raises:
        OSError: the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "config": model.config.model_dump(mode="json"),
        "tensors": file_tensors(model),
    }
    write_tensor_file(content, path)


def load_model(path: str | os.PathLike[str]) -> QuantVisionTransformer:
    """Read a model file; the model is on the CPU, in evaluation mode, with quantization on.

    Raises:
        QvitError: the file is missing, is no model file, holds anything but tensors and plain values, or
            describes a model that is not valid; every problem found.
    """
    return model_of(read_tensor_file(path), path)


def model_of(content: object, path: str | os.PathLike[str]) -> QuantVisionTransformer:
    """The model that ``content``, read from the file ``path``, describes; as ``load_model``.

    Raises:
        QvitError: it does not describe a valid model; every problem found.
    """
    _check_header(content, path)
    assert isinstance(content, dict)
    config = parse_config(content["config"])
    # Without memory: a file must not make us allocate what it does not itself contain.
    with torch.device("meta"):
        model = QuantVisionTransformer(config)
    tensors = content["tensors"]
    problems = list(tensor_problems(tensors, model.state_dict()))
    if not problems:
        problems = list(_value_problems(tensors, config))
    if problems:
        raise QvitError(problems)
    model.load_state_dict(tensors, assign=True)
    problems = list(_bias_problems(model))
    if problems:
        raise QvitError(problems)
    return model.eval()


# ---------------------------------------------------------------- the file


def _check_header(content: object, path: str | os.PathLike[str]) -> None:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise QvitError(
            f"{path} is a torch checkpoint but not a qvit-hls model; "
            f'it should be a dictionary whose "format" is "{FORMAT}".'
        )
    if content.get("version") != VERSION or isinstance(content["version"], bool):
        raise QvitError(
            f"{path} has model format version {content.get('version')!r:.40}; "
            f"this program reads version {VERSION}."
        )
    check_entries(content, _KEYS, path)


# ---------------------------------------------------------------- the tensors


def _value_problems(tensors: dict[str, Tensor], config: VitConfig) -> Iterator[str]:
    """What is wrong with steps and row widths, once all tensors are there."""
    for name, tensor in tensors.items():
        layer, _, attribute = name.rpartition(".")
        if attribute == "row_bits":
            bad = ((tensor != 4) & (tensor != 8)).nonzero().flatten().tolist()
            for row in bad[:_LISTED_ROWS]:
                yield f"Row {row} of {layer} has {int(tensor[row])}-bit weights; rows are 4 or 8 bit."
            yield from _more_rows(layer, bad)
        elif attribute == "row_scale":
            bad = (tensor <= 0).nonzero().flatten().tolist()
            for row in bad[:_LISTED_ROWS]:
                yield f"Row {row} of {layer} has the step {float(tensor[row]):g}; steps are greater than 0."
            yield from _more_rows(layer, bad)
        elif attribute == "scale" and tensor <= 0:
            yield f"Tensor {name} is {float(tensor):g}; steps are greater than 0."
        elif name.endswith("score_quant.scale") and tensor != torch.tensor(config.score_step):
            yield (
                f"Tensor {name} is {float(tensor):g}; it should be config.score_step, {config.score_step:g}."
            )


def _bias_problems(model: QuantVisionTransformer) -> Iterator[str]:
    """Biases that the integer format of ``bias / (row_scale * input_scale)`` cannot hold."""
    for name, layer, input_quant in model.weight_layers():
        step = layer.row_scale.detach().double() * input_quant.scale.detach().double()
        codes = layer.bias.detach().double().abs() / step
        # Twice the bound of training: what rounding of the bound itself adds is no fault.
        bad = (codes >= 2 * MAX_BIAS_CODE).nonzero().flatten().tolist()
        for row in bad[:_LISTED_ROWS]:
            yield (
                f"Row {row} of {name} has the bias {float(layer.bias.detach()[row]):g}, which is "
                f"{float(codes[row]):.3g} times the row's step times the input's step; "
                f"it should be less than {2 * MAX_BIAS_CODE:.0f} times."
            )
        yield from _more_rows(name, bad)


def _more_rows(layer: str, rows: list[int]) -> Iterator[str]:
    if len(rows) > _LISTED_ROWS:
        yield f"The same is wrong in more rows of {layer}: {len(rows) - _LISTED_ROWS}."
