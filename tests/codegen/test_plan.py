"""A build plan holds files of a project, and nothing outside it."""

from __future__ import annotations

import pytest

from qvit_hls.codegen.plan import BuildPlan


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../../x", "a/..", "", ".", "..", "a\\b", "\\\\host\\x"]
)
def test_paths_that_lead_out_of_the_project_are_refused(path: str) -> None:
    with pytest.raises(ValueError) as refused:
        BuildPlan({"fine": b"", path: b""})
    assert str(refused.value) == f"{path!r} is not a path inside the project"


def test_the_digest_depends_on_paths_and_contents_alone() -> None:
    digest = BuildPlan({"a": b"1", "b/c": b"2"}).digest()
    assert BuildPlan({"b/c": b"2", "a": b"1"}).digest() == digest
    others = [{"a": b"1"}, {"a": b"1", "b/c": b"3"}, {"a": b"1", "b/d": b"2"}, {"a": b"", "b/c": b"12"}]
    assert len({digest, *(BuildPlan(files).digest() for files in others)}) == 5


def test_contents_cannot_pass_for_other_paths() -> None:
    """Lengths are part of the digest: no file boundary can be shifted."""
    assert BuildPlan({"a": b"x" + b"b\x001\x00y"}).digest() != BuildPlan({"a": b"x", "b": b"y"}).digest()
