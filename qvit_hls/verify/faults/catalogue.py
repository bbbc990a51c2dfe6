"""All faults, by part of the project."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

from qvit_hls.errors import QvitError
from qvit_hls.verify.faults.arithmetic import ARITHMETIC_FAULTS
from qvit_hls.verify.faults.fault import Fault
from qvit_hls.verify.faults.loading import LOADING_FAULTS
from qvit_hls.verify.faults.mac import MAC_FAULTS
from qvit_hls.verify.faults.product import PRODUCT_FAULTS
from qvit_hls.verify.faults.program_data import DESCRIPTOR_FAULTS
from qvit_hls.verify.faults.rtl_control import RTL_CONTROL_FAULTS
from qvit_hls.verify.faults.rtl_drain import RTL_DRAIN_FAULTS
from qvit_hls.verify.faults.rtl_fault import RtlFault
from qvit_hls.verify.faults.rtl_lanes import RTL_LANE_FAULTS
from qvit_hls.verify.faults.rtl_loader import RTL_LOADER_FAULTS
from qvit_hls.verify.faults.rtl_mac import RTL_MAC_FAULTS
from qvit_hls.verify.faults.rtl_moments import RTL_MOMENTS_FAULTS
from qvit_hls.verify.faults.rtl_norm import RTL_NORM_FAULTS
from qvit_hls.verify.faults.rtl_softmax import RTL_SOFTMAX_FAULTS
from qvit_hls.verify.faults.rtl_units import RTL_UNIT_FAULTS
from qvit_hls.verify.faults.stream_data import STREAM_FAULTS

CATALOGUE: tuple[Fault, ...] = (
    *ARITHMETIC_FAULTS,
    *LOADING_FAULTS,
    *PRODUCT_FAULTS,
    *MAC_FAULTS,
    *STREAM_FAULTS,
    *DESCRIPTOR_FAULTS,
)

#: Of the SystemVerilog.
RTL_CATALOGUE: tuple[RtlFault, ...] = (
    *RTL_MAC_FAULTS,
    *RTL_LOADER_FAULTS,
    *RTL_CONTROL_FAULTS,
    *RTL_LANE_FAULTS,
    *RTL_DRAIN_FAULTS,
    *RTL_SOFTMAX_FAULTS,
    *RTL_NORM_FAULTS,
    *RTL_MOMENTS_FAULTS,
    *RTL_UNIT_FAULTS,
)

_Any = TypeVar("_Any", Fault, RtlFault)


def select(patterns: Sequence[str], catalogue: Sequence[_Any]) -> tuple[_Any, ...]:
    """Faults whose name matches one of the patterns (``*`` and ``?``); all of them without a pattern.

    Raises:
        QvitError: patterns that no fault matches.
    """
    unknown = [pattern for pattern in patterns if not any(fnmatchcase(f.name, pattern) for f in catalogue)]
    if unknown:
        names = ", ".join(fault.name for fault in catalogue)
        raise QvitError([f"There is no fault {pattern!r}. The faults are: {names}." for pattern in unknown])
    return tuple(
        fault for fault in catalogue if not patterns or any(fnmatchcase(fault.name, p) for p in patterns)
    )
