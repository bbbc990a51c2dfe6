"""The descriptor is one thing in two languages."""

from __future__ import annotations

import re
from dataclasses import fields
from enum import IntEnum
from importlib import resources

import numpy as np
import pytest

from qvit_hls.hw.descriptor import (
    DESCRIPTOR_WORDS,
    Descriptor,
    Destination,
    DigitSource,
    Memory,
    Scaling,
    Unit,
)

HEADER = (resources.files("qvit_hls") / "hls_kernels" / "hls" / "descriptor.hpp").read_text()


def enumerators(name: str) -> list[str]:
    found = re.search(rf"enum {name} {{([^}}]*)}};", HEADER)
    assert found is not None
    return [value.strip() for value in found[1].split(",")]


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


@pytest.mark.parametrize(
    ("name", "prefix", "values"),
    [
        ("Unit", "", Unit),
        ("Memory", "MEMORY_", Memory),
        ("DigitSource", "DIGITS_", DigitSource),
        ("Destination", "TO_", Destination),
        ("ScalingSource", "SCALING_", Scaling),
    ],
)
def test_enumerations_are_equal(name: str, prefix: str, values: type[IntEnum]) -> None:
    assert enumerators(name) == [prefix + value.name for value in values]
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
