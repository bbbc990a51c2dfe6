"""How accurate a network is: of the supernet's weights, on validation images; each network once."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from qvit_hls.errors import QvitError
from qvit_hls.nets.subnet import Subnet
from qvit_hls.nets.supernet import Supernet

#: Seconds that a process waits for another one's write.
_WAIT_S = 60.0


class Accuracy(Protocol):
    """Evaluates networks.

    Attributes:
        digest: text that differs where accuracies may differ.
    """

    @property
    def digest(self) -> str:
        """As above."""
        ...

    def __call__(self, subnet: Subnet) -> float:
        """The accuracy of a network, 0 to 1."""
        ...


class SupernetAccuracy:
    """Top-1 accuracy of the supernet's networks, with the weights that they share.

    Args:
        supernet: evaluated as it is, with quantization on.
        images: float32 ``[n, channels, height, width]``.
        labels: int64 ``[n]``.
        batch_size: images at once.

    Raises:
        QvitError: images and labels do not belong together or to the supernet; every problem is named.
    """

    def __init__(self, supernet: Supernet, images: Tensor, labels: Tensor, batch_size: int = 256) -> None:
        config = supernet.latent.config
        shape = (config.channels, config.image_size, config.image_size)
        problems = []
        if not len(images):
            problems.append("There are no validation images; at least one is needed.")
        if tuple(images.shape[1:]) != shape:
            problems.append(
                f"Validation images are of shape {list(images.shape[1:])}; the supernet takes {list(shape)}."
            )
        if labels.shape != images.shape[:1]:
            problems.append(f"There are {len(labels)} labels for {len(images)} validation images.")
        elif bool(((labels < 0) | (labels >= config.classes)).any()):
            problems.append(f"Labels of validation images should be from 0 to {config.classes - 1}.")
        if problems:
            raise QvitError(problems)
        self._supernet = supernet.eval()
        self._batches = list(zip(images.split(batch_size), labels.split(batch_size), strict=True))
        self._count = len(images)
        self.digest = _digest(supernet, images, labels)

    @torch.inference_mode()
    def __call__(self, subnet: Subnet) -> float:
        """The share of images whose largest logit is that of their label."""
        right = 0
        for images, labels in self._batches:
            right += int((self._supernet(images, subnet).argmax(dim=1) == labels).sum())
        return right / self._count


def _digest(supernet: Supernet, images: Tensor, labels: Tensor) -> str:
    """Of all that an accuracy depends on."""
    content = hashlib.sha256(json.dumps(supernet.space.model_dump(mode="json"), sort_keys=True).encode())
    tensors = {**supernet.state_dict(), "images": images, "labels": labels}
    for name, tensor in sorted(tensors.items()):
        content.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        content.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


class CachedAccuracy:
    """Accuracies of another evaluator, kept in a file that several processes can share.

    A file may hold accuracies of many supernets and data sets; only those of the same digest are taken.

    Args:
        accuracy: evaluates what is not in the file yet.
        path: a file of SQLite; made where there is none.

    Raises:
        QvitError: the file is no such file, or cannot be used; it is left as it is.
    """

    def __init__(self, accuracy: Accuracy, path: Path) -> None:
        self._accuracy = accuracy
        self._path = path
        self.digest = accuracy.digest
        try:
            self._file = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS accuracies "
                "(digest TEXT, network TEXT, accuracy REAL NOT NULL, PRIMARY KEY (digest, network))"
            )
            self._file.execute("SELECT digest, network, accuracy FROM accuracies LIMIT 1").fetchall()
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def __call__(self, subnet: Subnet) -> float:
        """From the file, or else evaluated and written to it.

        Raises:
            QvitError: the file is damaged, or cannot be written.
        """
        known = self._known(subnet)
        if known is None:
            # Whoever is first is right: all see the same accuracy from then on.
            known = self._known(subnet, self._accuracy(subnet))
            assert known is not None
        return known

    def _known(self, subnet: Subnet, value: float | None = None) -> float | None:
        """What the file has for a network, after adding ``value`` unless it has something already."""
        where = (self.digest, subnet.key)
        try:
            if value is not None:
                self._file.execute("INSERT OR IGNORE INTO accuracies VALUES (?, ?, ?)", (*where, value))
            query = "SELECT accuracy FROM accuracies WHERE digest = ? AND network = ?"
            found = self._file.execute(query, where).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return None if found is None else float(found[0])

    def _unusable(self, error: sqlite3.Error) -> QvitError:
        return QvitError(
            f"The file of accuracies {self._path} cannot be used ({error}); it was left as it is. Remove it "
            "yourself, and accuracies are evaluated anew."
        )
