"""Boards: what a part offers and how much of it a design may use. One YAML file per board."""

from __future__ import annotations

from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qvit_hls.errors import QvitError


class Board(BaseModel):
    """A board, as read from ``hw/boards/<name>.yaml``.

    Attributes:
        part: the device, as Vitis HLS names it.
        lut, ff, dsp, bram36: what the programmable logic has.
        usable: the share of each resource that a design may use; the rest is left for routing and
            for logic that the first estimate does not count.
        weight_ports: independent 128-bit memory ports that weights can stream over.
        ddr_gbytes_per_s: peak bandwidth of the memory behind the ports, in 10**9 bytes per second.
        clock_mhz: default clock of the kernel.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    part: str
    lut: int = Field(gt=0)
    ff: int = Field(gt=0)
    dsp: int = Field(gt=0)
    bram36: int = Field(gt=0)
    usable: float = Field(gt=0, le=1)
    weight_ports: int = Field(ge=1, le=4)
    ddr_gbytes_per_s: float = Field(gt=0)
    clock_mhz: float = Field(gt=0)


def board_names() -> list[str]:
    """Names of the boards that ship with the package."""
    folder = resources.files("qvit_hls.hw") / "boards"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def load_board(name: str) -> Board:
    """Read a board by name.

    Raises:
        QvitError: there is no such board, or its file is malformed.
    """
    names = board_names()
    if name not in names:
        raise QvitError(f"unknown board {name!r}; known boards: {', '.join(names)}")
    text = (resources.files("qvit_hls.hw") / "boards" / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        return Board.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise QvitError(f"board file {name}.yaml is malformed: {error}") from error
