"""Sources with many faults in them, of which a plusarg of the simulation switches on one, or none.

Compiling a model takes many times as long as running it, so one model carries all faults. ``+fault=0``, or no
plusarg, is the design as it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from qvit_hls.errors import QvitError
from qvit_hls.verify.faults.rtl_fault import PlacedEdit

#: Where the switch lies in a project; it is compiled before the other sources.
SWITCH_FILE = "rtl/fault_pkg.sv"
SWITCH_SOURCE = b"""\
`timescale 1ns / 1ps
// Which of the planted faults is on, by its number; 0 for none.
package fault_pkg;
    function automatic int chosen();
        int number;
        if (!$value$plusargs("fault=%d", number)) number = 0;
        return number;
    endfunction
    int planted = chosen();
endpackage
"""
_PLANTED = "fault_pkg::planted"


def plusarg(number: int) -> str:
    """The plusarg that switches a fault on."""
    return f"+fault={number}"


def switched(texts: Mapping[str, str], faults: Mapping[int, Sequence[PlacedEdit]]) -> dict[str, str]:
    """Plant faults that can be switched on one at a time.

    Args:
        texts: sources by path; those without any fault may be missing from the result.
        faults: edits of each fault by its number, from 1 on.

    Raises:
        QvitError: changes that overlap and are not of the same text.
    """
    places: dict[str, dict[tuple[int, int], list[tuple[int, PlacedEdit]]]] = defaultdict(dict)
    for number, edits in faults.items():
        for placed in edits:
            places[placed.file].setdefault((placed.start, placed.end), []).append((number, placed))
    return {path: _switched_text(path, texts[path], spans) for path, spans in places.items()}


def _switched_text(
    path: str, text: str, spans: Mapping[tuple[int, int], Sequence[tuple[int, PlacedEdit]]]
) -> str:
    parts, at = [], 0
    for start, end in sorted(spans):
        if start < at:
            raise QvitError(
                f"Two faults change overlapping texts of {path}, one of them {text[start:end]!r}. Faults "
                "that share a model change the same text, or texts apart from each other."
            )
        parts.append(text[at:start])
        choice = text[start:end]
        for number, placed in spans[start, end]:
            choice = _choice(number, placed.edit.after, choice, placed.edit.is_statement)
        parts.append(choice)
        at = end
    return "".join([*parts, text[at:]])


def _choice(number: int, after: str, before: str, is_statement: bool) -> str:
    if is_statement:
        return f"if ({_PLANTED} == {number}) begin {after} end else begin {before} end"
    return f"({_PLANTED} == {number} ? ({after}) : ({before}))"
