"""docs/ir.md specifies every operation and names every one of its attributes."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from qvit_hls.ir.graph import SPEC_VERSION, Op
from qvit_hls.ir.signatures import OPS_BY_KIND, SIGNATURES

DOCUMENT = (Path(__file__).parents[2] / "docs" / "ir.md").read_text(encoding="utf-8")
SECTIONS = {
    heading: body.partition("\n## ")[0]
    for heading, body in re.findall(
        r"^### `(\w+)`\n(.*?)(?=^### |\Z)", DOCUMENT, flags=re.MULTILINE | re.DOTALL
    )
}


@pytest.mark.parametrize("op", SIGNATURES, ids=lambda op: op.kind)
def test_an_operation_and_its_attributes_are_specified(op: type[Op]) -> None:
    section = SECTIONS[op.kind]
    assert f"`{op.__name__}`" in section
    rows = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]*) \|", section, flags=re.MULTILINE))))
    assert rows == {item.name for item in fields(op)}


def test_the_document_has_no_section_for_an_operation_that_is_gone() -> None:
    assert set(SECTIONS) == set(OPS_BY_KIND)


def test_the_document_states_the_version() -> None:
    assert f"Specification, version {SPEC_VERSION}." in DOCUMENT
