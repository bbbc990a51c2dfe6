"""The descriptor is one thing in three languages."""

from __future__ import annotations

import re
from dataclasses import fields
from enum import IntEnum
from importlib import resources

import numpy as np
import pytest

from qvit_hls.hw.descriptor import (
    AFTER_COUNT_BITS,
    DESCRIPTOR_WORDS,
    After,
    Descriptor,
    Destination,
    DigitSource,
    Memory,
    Scaling,
    Unit,
)
from qvit_hls.verify.faults.weight_stream import PARAMETER_FIELDS

KERNELS = resources.files("qvit_hls") / "hls_kernels"
HEADER = (KERNELS / "hls" / "descriptor.hpp").read_text()
PACKAGE = (KERNELS / "rtl" / "qvit_pkg.sv").read_text()


def enumerators(name: str) -> list[str]:
    found = re.search(rf"enum {name} {{([^}}]*)}};", HEADER)
    assert found is not None
    return [value.strip() for value in found[1].split(",")]


def packaged_enumerators(name: str) -> list[str]:
    found = re.search(rf"typedef enum logic \[31:0\] {{([^}}]*)}} {name};", PACKAGE)
    assert found is not None
    return [value.strip() for value in found[1].split(",")]


def packaged_members(name: str) -> list[tuple[str, str]]:
    """Type and name of a packed struct's members, in the order of the text: the highest bits first."""
    found = re.search(rf"typedef struct packed {{([^}}]*)}} {name};", PACKAGE)
    assert found is not None
    return [(kind.strip(), member) for kind, member in re.findall(r"^\s*(.*\S)\s+(\w+);", found[1], re.M)]


def test_words_are_the_members_of_the_struct_in_order() -> None:
    found = re.search(r"struct Descriptor {([^}]*)};", HEADER)
    assert found is not None
    members = re.findall(r"uint32_t (\w+);", found[1])
    assert members == [field.name for field in fields(Descriptor)]
    assert len(members) == DESCRIPTOR_WORDS
    assert f"constexpr int DESCRIPTOR_WORDS = {DESCRIPTOR_WORDS};" in HEADER


def test_every_word_is_read_into_the_struct_in_order() -> None:
    found = re.search(r"const Descriptor d = {([^}]*)};", HEADER)
    assert found is not None
    assert [int(index) for index in re.findall(r"word\[(\d+)\]", found[1])] == list(range(DESCRIPTOR_WORDS))


#: Names in C++ and in SystemVerilog, prefix of the values, and the values.
ENUMERATIONS: tuple[tuple[str, str, str, type[IntEnum]], ...] = (
    ("Unit", "unit_t", "", Unit),
    ("Memory", "memory_t", "MEMORY_", Memory),
    ("DigitSource", "digit_source_t", "DIGITS_", DigitSource),
    ("Destination", "destination_t", "TO_", Destination),
    ("ScalingSource", "scaling_t", "SCALING_", Scaling),
)


def test_the_packed_struct_has_the_words_in_order_the_first_one_lowest() -> None:
    members = packaged_members("descriptor_t")[::-1]
    assert [name for _, name in members] == [field.name for field in fields(Descriptor)]
    types = {packaged for _, packaged, _, _ in ENUMERATIONS}
    assert {kind for kind, _ in members} == {"logic [31:0]", "after_t", *types}
    assert [name for kind, name in members if kind == "after_t"] == ["after"]
    assert f"localparam int DESCRIPTOR_WORDS = {DESCRIPTOR_WORDS};" in PACKAGE


def test_the_packed_word_after_has_the_bits_that_are_written() -> None:
    low, found = 0, {}
    for kind, name in packaged_members("after_t")[::-1]:
        width = re.fullmatch(r"logic(?: \[(\d+):0\])?", kind)
        assert width is not None
        bits = int(width[1] or 0) + 1
        found[name] = (1 << bits) - 1 << low
        low += bits
    assert low == 32
    most = (1 << AFTER_COUNT_BITS) - 1
    assert found == {
        "gemms": After(gemms=most).word(),
        "vectors": After(vectors=most).word(),
        "gemm_by_tile": After(gemm_by_tile=True).word(),
        "vector_by_tile": After(vector_by_tile=True).word(),
    }


def test_row_parameters_are_packed_as_in_the_weight_stream() -> None:
    members = packaged_members("row_parameters_t")[::-1]
    low = 0
    for (_, name), (field, (start, width)) in zip(members, PARAMETER_FIELDS.items(), strict=True):
        assert (name, low) == (field, start)
        low += width
    constants = {name: int(value) for name, value in re.findall(r"localparam int (\w+) = (\d+);", PACKAGE)}
    widths = {name: width for name, (_, width) in PARAMETER_FIELDS.items()}
    assert (constants["BIAS_BITS"], constants["SHIFT_BITS"]) == (widths["bias"], widths["shift"])
    assert (constants["MULTIPLIER_BITS"] - 1, constants["CHANNEL_BITS"]) == (
        widths["multiplier"],
        widths["channel"],
    )
    arithmetic = (KERNELS / "hls" / "requantize.hpp").read_text()
    for name in ("MULTIPLIER_BITS", "SHIFT_BITS"):
        assert f"constexpr int {name} = {constants[name]};" in arithmetic


@pytest.mark.parametrize(("name", "packaged", "prefix", "values"), ENUMERATIONS)
def test_enumerations_are_equal(name: str, packaged: str, prefix: str, values: type[IntEnum]) -> None:
    assert enumerators(name) == packaged_enumerators(packaged) == [prefix + value.name for value in values]
    assert [value.value for value in values] == list(range(len(values)))


def test_words_are_the_fields_as_unsigned_numbers() -> None:
    words = Descriptor(unit=Unit.GEMM, steps=7, width=(1 << 32) - 1).words()
    assert words.dtype == np.uint32
    assert words.shape == (DESCRIPTOR_WORDS,)
    assert (words[0], words[1], words[30], words.sum(dtype=np.uint64)) == (
        2,
        7,
        0xFFFFFFFF,
        2 + 7 + 0xFFFFFFFF + 3,
    )


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_a_field_outside_32_bits_is_refused(value: int) -> None:
    with pytest.raises(OverflowError):
        Descriptor(unit=0, tokens=value).words()


@pytest.mark.parametrize(
    "after",
    [
        After(),
        After(3, 5),
        After(3, 5, gemm_by_tile=True),
        After(3, 5, vector_by_tile=True),
        After(32_767, 32_767, gemm_by_tile=True, vector_by_tile=True),
    ],
)
def test_what_a_layer_waits_for_is_read_back_from_its_word(after: After) -> None:
    assert After.of_word(after.word()) == after
    assert Descriptor(unit=Unit.GEMM, after=after.word()).words()[31] == after.word()


@pytest.mark.parametrize("after", [After(gemms=32_768), After(vectors=32_768)])
def test_more_layers_than_can_be_counted_are_refused(after: After) -> None:
    with pytest.raises(OverflowError, match=r"^layers wait for 32,768 others; 32,767 can be counted$"):
        after.word()
