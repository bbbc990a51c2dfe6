"""Settings of methods by name and text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qvit_hls.errors import QvitError
from qvit_hls.ptq.channel_shifts import EqualRanges, LeastOutputError
from qvit_hls.ptq.method_settings import settings_of, with_settings
from qvit_hls.ptq.methods import METHODS, Auto, Brecq, Erq, FqVit, Method, MinMax, RepqVit
from qvit_hls.ptq.metrics import HessianGuided
from qvit_hls.ptq.ridge import RidgeCorrection
from qvit_hls.ptq.step_search import StepSearch


@pytest.mark.parametrize("method", [method() for method in METHODS.values()], ids=METHODS)
def test_every_setting_that_is_listed_can_be_given_as_it_is(method: Method) -> None:
    texts = [
        f"{name}={','.join(map(str, value)) if isinstance(value, tuple) else str(value or 'none')}"
        for name, value in settings_of(method)
        if value != 0
    ]
    assert with_settings(method, texts) == method


def test_settings_of_parts_are_changed_and_parts_exchanged() -> None:
    found = with_settings(
        Brecq(),
        [
            "reconstruction.iterations=7",
            "correction=none",
            "shifts=EqualRanges",
            "search.metric = HessianGuided",
        ],
    )
    wanted = replace(
        Brecq(),
        search=StepSearch(HessianGuided()),
        correction=None,
        shifts=EqualRanges(),
        reconstruction=replace(Brecq().reconstruction, iterations=7),
    )
    assert found == wanted
    assert with_settings(RepqVit(), ["softmax_levels=0"]) == RepqVit(softmax_levels=0)


def test_the_order_of_settings_does_not_matter() -> None:
    texts = ["shifts=LeastOutputError", "shifts.least_gain=0.5", "shifts.alphas=1, 0.25"]
    wanted = Erq(shifts=LeastOutputError(alphas=(1.0, 0.25), least_gain=0.5))
    assert with_settings(Erq(), texts) == with_settings(Erq(), texts[::-1]) == wanted


def test_settings_that_limit_each_other_are_changed_at_once() -> None:
    found = with_settings(Auto(), ["search.low=1.5", "search.high=2", "correction.strength=1e-3"])
    assert found == Auto(StepSearch(low=1.5, high=2.0), RidgeCorrection(1e-3))


def test_all_that_does_not_fit_is_named() -> None:
    with pytest.raises(QvitError) as error:
        with_settings(
            FqVit(),
            [
                "softmax_levels=many",
                "shifts=Equal",
                "levels=1",
                "shifts.alphas=1",
                "shifts",
                "shifts.largest=9",
            ],
        )
    has = "its settings are shifts, shifts.largest, softmax_levels"
    assert error.value.problems == (
        "The setting 'shifts' has no value; it should be NAME=VALUE.",
        f"Method fqvit has no setting levels; {has}.",
        f"Method fqvit has no setting shifts.alphas; {has}.",
        "The setting shifts is 'Equal'; it should be EqualRanges or LeastChannelError or LeastOutputError or "
        "none.",
        "The shift rule's largest is 9; it should be 0 to 7.",
        "The setting softmax_levels is 'many'; it should be a valid integer.",
    )


def test_a_part_is_no_setting_unless_there_is_a_choice() -> None:
    expected = "Method easyquant has no setting search; its settings are search.metric, search.images, "
    with pytest.raises(QvitError) as error:
        with_settings(METHODS["easyquant"](), ["search=none", "search.metric=none"])
    first, second = error.value.problems
    assert first.startswith(expected)
    assert second == "The setting search.metric is 'none'; it should be CosineSimilarity or HessianGuided."


def test_a_method_without_settings_says_so() -> None:
    with pytest.raises(QvitError, match=r"^Method minmax has no setting norm; it has none\.$"):
        with_settings(MinMax(), ["norm=2"])


@pytest.mark.parametrize(
    ("name", "texts", "problems"),
    [
        (
            "auto",
            ["search.images=0", "search.candidates=1", "search.low=0", "search.high=inf"],
            [
                "The step search's images is 0; it should be at least 1.",
                "The step search's candidates is 1; it should be at least 2.",
                "The step search's low is 0; it should be greater than 0.",
                "The step search's high is inf; it should be greater than low, 0.",
            ],
        ),
        (
            "auto",
            ["shifts.alphas=1,2", "shifts.clipping=0", "shifts.least_gain=-1"],
            [
                "The shift rule's alphas is 1, 2; it should be 0 to 1 each.",
                "The shift rule's clipping is 0; it should be greater than 0, at most 1 each.",
                "The shift rule's least_gain is -1; it should be 0 to 1.",
            ],
        ),
        (
            "erq",
            ["correction.strength=nan", "correction.batch_size=0", "row_error=all"],
            [
                "The ridge correction's strength is nan; it should be greater than 0.",
                "The ridge correction's batch_size is 0; it should be at least 1.",
                "The setting row_error is 'all'; it should be 'weight', 'diagonal' or 'gram'.",
            ],
        ),
        ("repq", ["softmax_levels=-1"], ["RepQ-ViT's softmax_levels is -1; it should be 0 or greater."]),
        ("percentile", ["percentile=10"], ["The percentile is 10; it should be 50 to 100."]),
        ("brecq", ["reconstruction.batch_tokens=0"],
         ["Block reconstruction's batch_tokens is 0; it should be at least 1."]),
    ],
)  # fmt: skip
def test_values_out_of_range_are_named(name: str, texts: list[str], problems: list[str]) -> None:
    with pytest.raises(QvitError) as error:
        with_settings(METHODS[name](), texts)
    assert list(error.value.problems) == problems
