"""A killed run goes on as if it had not been killed; what is wrong with a checkpoint is said."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_runs import TIMINGS, network_objective, run, settings, supernet_objective

from qvit_hls.errors import QvitError
from qvit_hls.train.checkpoint import Checkpoint, checkpoint_paths, load_checkpoint, newest_checkpoint
from qvit_hls.train.metrics import read_metrics
from qvit_hls.train.trainer import CHECKPOINTS


def records(folder: Path) -> list[dict[str, float]]:
    return [
        {name: value for name, value in record.items() if name not in TIMINGS}
        for record in read_metrics(folder / "metrics.jsonl")
    ]


def newest(folder: Path) -> Checkpoint:
    found = newest_checkpoint(folder / CHECKPOINTS)
    assert found is not None
    return found[1]


# Both are killed when quantized; the first goes on there, the second in its float phase.
@pytest.mark.parametrize(("kind", "steps", "resumed_at"), [("network", 11, 10), ("supernet", 9, 5)])
def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path, kind: str, steps: int, resumed_at: int) -> None:
    make = {"network": network_objective, "supernet": supernet_objective}[kind]
    objective = make(settings())
    run(objective, settings(), tmp_path / "whole")

    script = Path(__file__).with_name("small_runs.py")
    # A step takes 16 images, and calibration 64.
    images = 16 * steps + 64
    killed = subprocess.run(
        [sys.executable, str(script), kind, str(tmp_path / "killed"), str(images)], timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    assert newest(tmp_path / "killed").step == resumed_at
    other = make(settings())
    run(other, settings(), tmp_path / "killed", newest(tmp_path / "killed"))

    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    assert len([record for record in records(tmp_path / "whole") if "loss" in record]) == 12
    states = objective.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_run_goes_on_from_its_start_between_its_phases_and_after_its_end(tmp_path: Path) -> None:
    config = settings(checkpoint_every=6, keep_checkpoints=9)
    objective = supernet_objective(config)
    run(objective, config, tmp_path)
    expected = records(tmp_path)
    for step in (0, 6, 12):
        checkpoint = load_checkpoint(tmp_path / CHECKPOINTS / f"step_{step:08d}.pt")
        other = supernet_objective(config)
        run(other, config, tmp_path, checkpoint)
        assert records(tmp_path) == expected
        states = objective.model.state_dict(), other.model.state_dict()
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_damaged_file_of_metrics_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 2.5}]
    path.write_text('{"step": 1, "loss": 2.5}\n[]\n')
    with pytest.raises(QvitError) as error:
        read_metrics(path)
    assert str(error.value) == (
        f"{path}, line 2, is no record of a training run; remove the line or the file."
    )


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    config = settings(checkpoint_every=2, keep_checkpoints=2)
    run(network_objective(config), config, tmp_path)
    assert sorted(path.name for path in (tmp_path / CHECKPOINTS).iterdir()) == [
        "step_00000010.pt",
        "step_00000012.pt",
    ]
    (tmp_path / CHECKPOINTS / ".unfinished.pt").write_bytes(b"what a killed run leaves")
    assert newest(tmp_path).step == 12


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run(network_objective(settings()), settings(), folder)
    return folder


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_too(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for path in checkpoint_paths(finished / CHECKPOINTS):
        (folder / path.name).write_bytes(path.read_bytes())
    last, before = folder / "step_00000012.pt", folder / "step_00000010.pt"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    with pytest.raises(QvitError) as error:
        newest_checkpoint(folder)
    assert error.value.problems == (
        f"{last} is not a checkpoint of a training run, or it is truncated or damaged.",
        f"The newest good checkpoint is {before}; continue from it with --resume-from {before}",
    )
    for path in checkpoint_paths(folder):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(QvitError) as error:
        newest_checkpoint(folder)
    assert error.value.problems[1] == f"No other checkpoint in {folder} can be read."
    assert len(checkpoint_paths(folder)) == 3
    assert newest_checkpoint(tmp_path / "nowhere") is None


def test_files_that_are_no_checkpoints_are_refused(finished: Path, tmp_path: Path) -> None:
    good = torch.load(checkpoint_paths(finished / CHECKPOINTS)[-1], weights_only=True)
    path = tmp_path / "x.pt"
    damaged = f"{path} is not a checkpoint of a training run, or it is truncated or damaged."
    cases: list[tuple[object, tuple[str, ...]]] = [
        ([1], (f"{path} is a torch file but not a checkpoint of a training run.",)),
        ({**good, "version": 2}, (f"{path} has checkpoint version 2; this program reads 1.",)),
        ({**good, "step": "1", "more": 1},
         (f"{path}: entry step is missing or is no int.", f"{path}: entry more is not known.")),
        (Path("an object"), (damaged,)),
    ]  # fmt: skip
    for content, problems in cases:
        torch.save(content, path)
        with pytest.raises(QvitError) as error:
            load_checkpoint(path)
        assert error.value.problems == problems
    with pytest.raises(QvitError, match=f"^There is no checkpoint {tmp_path}/none.pt.$"):
        load_checkpoint(tmp_path / "none.pt")


def test_a_changed_run_is_refused_and_each_change_named(finished: Path) -> None:
    (path, *_) = reversed(checkpoint_paths(finished / CHECKPOINTS))
    checkpoint = load_checkpoint(path)
    model = network_objective(settings()).model
    structure = {"network": "small"}
    checkpoint.check(path, settings(log_every=7, keep_checkpoints=1), structure, 64, model)
    with pytest.raises(QvitError) as error:
        checkpoint.check(path, settings(learning_rate=1.0, seed=4), structure, 65, model)
    assert error.value.problems == (
        f"{path}: seed was 0 and is 4; a resumed run keeps it.",
        f"{path}: learning_rate was 0.003 and is 1.0; a resumed run keeps it.",
        f"{path}: the training data had 64 images and has 65.",
    )
    with pytest.raises(QvitError) as error:
        checkpoint.check(path, settings(), {"space": {}}, 64, model)
    assert error.value.problems == (
        f"{path}: what is trained has changed: the search space or the network is another one.",
    )
    del checkpoint.tensors["pos_embed"], checkpoint.average["cls_token"]
    checkpoint.tensors["head.bias"] = torch.zeros(3)
    checkpoint.tensors["tail"] = torch.zeros(3)
    with pytest.raises(QvitError) as error:
        checkpoint.check(path, settings(), structure, 64, model)
    assert error.value.problems == (
        f"{path}: Tensor pos_embed is missing; it should be float32 of shape [1, 5, 16].",
        f"{path}: Tensor head.bias is float32 of shape [3]; it should be float32 of shape [2].",
        f"{path}: Tensor tail does not belong to the model that the configuration describes.",
        f"{path}: average: Tensor cls_token is missing; it should be float32 of shape [1, 1, 16].",
    )
