"""Accuracies are those of the networks; each is evaluated once for the same supernet and the same images."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest
import torch
from search_spaces import small_space

from qvit_hls.errors import QvitError
from qvit_hls.nets.subnet import Subnet
from qvit_hls.nets.supernet import Supernet
from qvit_hls.search.accuracy import CachedAccuracy, SupernetAccuracy


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    torch.manual_seed(0)
    result = Supernet(small_space())
    result.calibrate(torch.randn(8, 1, 8, 8))
    return result


def _data(count: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 1, 8, 8, generator=generator)
    return images, torch.randint(0, 5, (count,), generator=generator)


class Counting:
    """An accuracy that counts how often it is asked for."""

    def __init__(self, digest: str, value: float) -> None:
        self.digest, self.value, self.asked = digest, value, 0

    def __call__(self, subnet: Subnet) -> float:
        self.asked += 1
        return self.value


def test_the_accuracy_is_that_of_the_extracted_network(supernet: Supernet) -> None:
    images, labels = _data()
    accuracy = SupernetAccuracy(supernet, images, labels, batch_size=7)
    generator = np.random.default_rng(0)
    for _ in range(4):
        subnet = supernet.space.sample(generator)
        with torch.no_grad():
            right = supernet.extract(subnet)(images).argmax(dim=1) == labels
        assert accuracy(subnet) == int(right.sum()) / 20


def test_the_digest_follows_weights_images_and_labels(supernet: Supernet) -> None:
    images, labels = _data()
    digests = {
        SupernetAccuracy(supernet, images, labels).digest,
        SupernetAccuracy(supernet, images + 1e-3, labels).digest,
        SupernetAccuracy(supernet, images, (labels + 1) % 5).digest,
    }
    other = Supernet(supernet.space)
    other.load_state_dict(supernet.state_dict())
    assert SupernetAccuracy(other, images, labels).digest in digests
    with torch.no_grad():
        other.latent.pos_embed[0, 0, 0] += 1e-3
    digests.add(SupernetAccuracy(other, images, labels).digest)
    assert len(digests) == 4


def test_images_and_labels_that_do_not_fit_are_all_named(supernet: Supernet) -> None:
    with pytest.raises(QvitError) as refused:
        SupernetAccuracy(supernet, torch.zeros(0, 3, 8, 8), torch.zeros(2, dtype=torch.int64))
    assert refused.value.problems == (
        "There are no validation images; at least one is needed.",
        "Validation images are of shape [3, 8, 8]; the supernet takes [1, 8, 8].",
        "There are 2 labels for 0 validation images.",
    )
    with pytest.raises(QvitError) as refused:
        SupernetAccuracy(supernet, _data()[0], _data()[1] + 1)
    assert refused.value.problems == ("Labels of validation images should be from 0 to 4.",)


def test_a_network_is_evaluated_once_for_all_who_share_the_file(tmp_path: Path) -> None:
    path, subnet = tmp_path / "accuracies.db", small_space().largest()
    first, second = Counting("a", 0.5), Counting("a", 0.75)
    readers = [CachedAccuracy(first, path), CachedAccuracy(second, path)]
    assert [reader(subnet) for reader in (*readers, *readers)] == [0.5] * 4
    assert (first.asked, second.asked) == (1, 0)


def test_accuracies_of_another_supernet_are_not_taken(tmp_path: Path) -> None:
    path, subnet = tmp_path / "accuracies.db", small_space().largest()
    assert CachedAccuracy(Counting("a", 0.5), path)(subnet) == 0.5
    assert CachedAccuracy(Counting("b", 0.75), path)(subnet) == 0.75
    assert CachedAccuracy(Counting("a", 0.0), path)(subnet) == 0.5
    assert CachedAccuracy(Counting("a", 0.25), path)(small_space().smallest()) == 0.25


def test_a_file_that_breaks_during_the_search_is_said(tmp_path: Path) -> None:
    path = tmp_path / "accuracies.db"
    cached = CachedAccuracy(Counting("a", 0.5), path)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE accuracies")
    with pytest.raises(QvitError) as refused:
        cached(small_space().largest())
    assert refused.value.problems == (
        f"The file of accuracies {path} cannot be used (no such table: accuracies); it was left as it is. "
        "Remove it yourself, and accuracies are evaluated anew.",
    )


def test_a_file_that_is_damaged_or_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    text, foreign = tmp_path / "text.db", tmp_path / "foreign.db"
    text.write_text("no database at all, but longer than the header of one" * 10)
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE accuracies (song TEXT)")
    connection.commit()
    connection.close()
    reasons = {text: "file is not a database", foreign: "no such column: digest"}
    for path, reason in reasons.items():
        with pytest.raises(QvitError) as refused:
            CachedAccuracy(Counting("a", 0.5), path)
        assert refused.value.problems == (
            f"The file of accuracies {path} cannot be used ({reason}); it was left as it is. Remove it "
            "yourself, and accuracies are evaluated anew.",
        )
    assert text.read_text().startswith("no database at all")
