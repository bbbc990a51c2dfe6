"""Boards: what a part offers and how much of it a design may use. One YAML file per board."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from qvit_hls.errors import QvitError

#: What a file name must end in to be taken for a path rather than a board's name.
_SUFFIXES = (".yaml", ".yml")


class Board(BaseModel):
    """A board, as read from ``hw/boards/<name>.yaml`` or from a file of the user's.

    Attributes:
        part: the device, as Vitis HLS names it.
        lut, ff, dsp, bram36, uram: what the programmable logic has; designs use no UltraRAM.
        dsp_type: kind of its DSP slices; the MAC lanes are packed for DSP48E2.
        usable: the share of each resource that a design may use; the rest is left free for routing and for
            what the platform itself takes.
        weight_ports: independent 128-bit memory ports that weights can stream over.
        ddr_gbytes_per_s: peak bandwidth of the memory behind the ports, in 10**9 bytes per second.
        clock_mhz: default clock of the accelerator.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str = Field(min_length=1, description="the board's name")
    part: str = Field(min_length=1, description="the device, such as xczu9eg-ffvb1156-2-e")
    lut: int = Field(gt=0, description="LUTs of the device")
    ff: int = Field(gt=0, description="flip-flops of the device")
    dsp: int = Field(gt=0, description="DSP slices of the device")
    dsp_type: Literal["DSP48E2"] = Field(description="kind of the DSP slices")
    bram36: int = Field(gt=0, description="block RAMs of 36 Kbit")
    uram: int = Field(ge=0, description="UltraRAMs; 0 where there are none")
    usable: float = Field(gt=0, le=1, description="share of the device that a design may use")
    weight_ports: int = Field(ge=1, le=4, description="128-bit memory ports")
    ddr_gbytes_per_s: float = Field(gt=0, description="memory bandwidth, 10**9 bytes per second")
    clock_mhz: float = Field(ge=1, le=2000, description="default clock, MHz")

    def usable_of(self, resource: Literal["lut", "ff", "dsp", "bram36"]) -> int:
        """How much of a resource a design may use."""
        return int(self.usable * getattr(self, resource))


def board_names() -> list[str]:
    """Names of the boards that ship with the package."""
    folder = resources.files("qvit_hls.hw") / "boards"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def known_boards() -> list[Board]:
    """The boards that ship with the package."""
    return [load_board(name) for name in board_names()]


def load_board(board: str) -> Board:
    """Read a board.

    Args:
        board: a name that ships with the package, or the path of a board file (``.yaml`` or ``.yml``).

    Raises:
        QvitError: there is no such board, or its file is malformed; every problem of the file is named.
    """
    if board.endswith(_SUFFIXES):
        path = Path(board)
        if not path.is_file():
            raise QvitError(
                f"The board file {board} does not exist; known boards are {', '.join(board_names())}."
            )
        return parse_board(path.read_bytes(), board)
    names = board_names()
    if board not in names:
        raise QvitError(
            f"unknown board {board!r}; known boards: {', '.join(names)}; "
            "any other board is the path of a .yaml file with the same keys"
        )
    file = resources.files("qvit_hls.hw") / "boards" / f"{board}.yaml"
    return parse_board(file.read_bytes(), f"{board}.yaml")


def parse_board(content: bytes, origin: str) -> Board:
    """Read a board from the content of its file.

    Args:
        origin: the file's name, for messages.

    Raises:
        QvitError: the file is malformed; every problem is named with the file and the key.
    """
    try:
        fields = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise QvitError(f"{origin} is not YAML: {_where(error)}") from error
    if not isinstance(fields, dict):
        raise QvitError(f"{origin} should hold one key per line, such as 'lut: 274080'.")
    problems = [f"{origin}: {key!r} is not a board's key" for key in fields if not isinstance(key, str)]
    problems += [f"{origin}: {problem}" for problem in _repeated(content)]
    try:
        board = Board.model_validate({key: value for key, value in fields.items() if isinstance(key, str)})
    except ValidationError as error:
        raise QvitError([*problems, *(f"{origin}: {_plain(item)}" for item in error.errors())]) from error
    if problems:
        raise QvitError(problems)
    return board


def _repeated(content: bytes) -> list[str]:
    """Keys that are given more than once, with their lines; YAML would take the last one."""
    node = yaml.compose(content, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    lines: dict[str, list[int]] = {}
    for key, _ in node.value:
        lines.setdefault(str(key.value), []).append(key.start_mark.line + 1)
    return [
        f"{key} is there {len(found)} times, in lines {', '.join(map(str, found[:-1]))} and {found[-1]}"
        for key, found in lines.items()
        if len(found) > 1
    ]


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', 'malformed')}"


def _plain(item: ErrorDetails) -> str:
    """One problem in words: the key, what it is, and what would be right."""
    key = ".".join(str(part) for part in item["loc"])
    field = Board.model_fields.get(key)
    if field is None:
        return f"{key} is not a board's key; keys are {', '.join(Board.model_fields)}"
    if item["type"] == "missing":
        return f"{key} is missing ({field.description})"
    return f"{key} is {_shown(item['input'])}; it should be {_right(item)} ({field.description})"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _right(item: ErrorDetails) -> str:
    kinds = {
        "int_type": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "string_type": "text",
        "string_too_short": "text",
    }
    bounds = item.get("ctx", {})
    words = {"gt": "greater than", "ge": "at least", "le": "at most", "expected": ""}
    for name, word in words.items():
        if name in bounds:
            return f"{word} {bounds[name]}".strip()
    return kinds.get(item["type"], item["msg"])
