"""``qvit-hls search`` from the command line: what it writes, goes on with, and refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Run

from qvit_hls.hw.accelerator import AcceleratorConfig
from qvit_hls.nets.space import space_of
from qvit_hls.nets.subnet import Subnet
from qvit_hls.nets.supernet import Supernet
from qvit_hls.nets.supernet_file import save_supernet

SPACE = {
    "name": "small",
    "depth": [1, 2],
    "embed_dim": [8, 12],
    "heads": [1, 2],
    "head_dim": [4],
    "mlp_ratio": [1.5, 2],
    "eight_bit_share": [0, 0.5, 1],
    "network": {"image_size": 4, "channels": 1, "patch_size": 2, "classes": 3},
}
BOARD = (
    "name: tiny\npart: xczu1\nlut: 30000\nff: 60000\ndsp: 60\ndsp_type: DSP48E2\nbram36: 60\nuram: 0\n"
    "usable: 0.9\nweight_ports: 1\nddr_gbytes_per_s: 4\nclock_mhz: 100\n"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a supernet, images and a board."""
    folder = tmp_path_factory.mktemp("made")
    torch.manual_seed(0)
    supernet = Supernet(space_of(SPACE, "small"))
    images = torch.randn(60, 1, 4, 4)
    supernet.calibrate(images)
    save_supernet(supernet, folder / "supernet.pt")
    np.savez(folder / "val.npz", images=images.numpy(), labels=np.arange(60) % 3)
    (folder / "tiny.yaml").write_text(BOARD)
    return folder


def _command(made: Path, out: Path, *more: object) -> tuple[object, ...]:
    return ("search", made / "supernet.pt", "--data", made / "val.npz", "-o", out, *more)


def test_two_workers_find_the_networks_for_each_target(qvit_hls: Run, made: Path, tmp_path: Path) -> None:
    options = (
        *("--accelerator", "4,8,4", "--clock", 200, "--trials", 24),
        *("--target-fps", 20_000, "--target-fps", 90_000),
    )
    result = qvit_hls(*_command(made, tmp_path / "found", *options, "--workers", 2))
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "found" / "picks.json").read_text())
    rows = list(csv.DictReader((tmp_path / "found" / "trials.csv").read_text().splitlines()))
    assert found["trials"] == len(rows) == len({row["network"] for row in rows}) == 24
    for pick, target in zip(found["picks"], (20_000, 90_000), strict=True):
        reaching = [float(row["accuracy"]) for row in rows if float(row["frames_per_second"]) >= target]
        assert pick["target_fps"] == target <= pick["frames_per_second"]
        assert pick["accuracy"] == max(reaching)
        assert pick["frames_per_second"] == pytest.approx(200e6 / pick["cycles"], abs=1e-3)
        config = AcceleratorConfig.model_validate(pick["accelerator"]["config"])
        assert (config.tile_tokens, config.tile_rows, config.tile_depth) == (4, 8, 4)
        assert f"{pick['cycles']:,}" in result.stdout
        key = json.dumps(pick["subnet"], sort_keys=True, separators=(",", ":"))
        assert Subnet.of_key(key).key in {row["network"] for row in rows}
    for name in ("front.png", "progress.png", "precision.png"):
        assert (tmp_path / "found" / name).read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "found" / "search.html").read_text()
    assert all(f'id="figure{index}"' in page for index in range(3))
    assert "https://cdn" not in page.split("</script>")[-1]
    # One worker alone comes to the same, and a finished search has nothing left to do.
    alone = qvit_hls(*_command(made, tmp_path / "alone", *options, "--quiet"))
    again = qvit_hls(*_command(made, tmp_path / "alone", *options, "--quiet"))
    assert (alone.exit_code, again.exit_code, alone.stdout) == (0, 0, "")
    other = json.loads((tmp_path / "alone" / "picks.json").read_text())
    for pick, same in zip(found["picks"], other["picks"], strict=True):
        assert {**pick, "trial": 0} == {**same, "trial": 0}
    assert other["progress"] == found["progress"]


def test_accelerators_are_chosen_with_the_networks(qvit_hls: Run, made: Path, tmp_path: Path) -> None:
    """And kept for when the search goes on."""
    command = _command(made, tmp_path, "--board", made / "tiny.yaml", "--trials", 6, "--target-fps", 1000)
    result = qvit_hls(*command, "--images", 30)
    assert result.exit_code == 0, result.output
    (pick,) = json.loads((tmp_path / "picks.json").read_text())["picks"]
    kept = json.loads((tmp_path / "accelerators.json").read_text())["accelerators"]
    assert 2 <= len(kept) <= 6
    assert pick["accelerator"]["share"] <= 0.9
    assert pick["frames_per_second"] >= 1000


def test_what_cannot_be_searched_is_said(qvit_hls: Run, made: Path, tmp_path: Path) -> None:
    fixed = ("--accelerator", "4,8,4", "--clock", 200)
    missing = qvit_hls("search", made / "none.pt", "--data", made / "val.npz", "-o", tmp_path,
                       "--target-fps", 1)  # fmt: skip
    assert (missing.exit_code, missing.stderr) == (
        1, f"error: There is no supernet file {made / 'none.pt'}.\n"
    )  # fmt: skip
    unreachable = qvit_hls(*_command(made, tmp_path / "a", *fixed, "--target-fps", 1e9, "--quiet"))
    assert unreachable.exit_code == 1
    assert "error: The target of 1e+09 frames per second is out of reach: the fastest network of the space " \
        "small reaches " in unreachable.stderr  # fmt: skip
    assert list((tmp_path / "a").iterdir()) == []
    no_data = qvit_hls("search", made / "supernet.pt", "--data", made / "no.npz", "-o", tmp_path / "b",
                       "--target-fps", 1)  # fmt: skip
    assert (no_data.exit_code, no_data.stderr) == (1, f"error: There is no file {made / 'no.npz'}.\n")
    none = qvit_hls(*_command(made, tmp_path / "b", *fixed, "--target-fps", 1, "--trials", 0, "--quiet"))
    assert (none.exit_code, none.stderr) == (
        1, "error: The search has 0 trials; it should have at least 1.\n"
    )  # fmt: skip
    two = qvit_hls(*_command(made, tmp_path / "b", "--accelerator", "16,32", "--target-fps", 1))
    assert (two.exit_code, two.stderr) == (
        1, "error: There is no folder 16,32; the accelerator should be a tile such as 16,32,8, or a folder "
        "that qvit-hls gen wrote.\n"
    )  # fmt: skip
    assert not (tmp_path / "b").exists()
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "study.db").write_text("something else")
    corrupt = qvit_hls(*_command(made, tmp_path / "c", *fixed, "--target-fps", 1, "--quiet"))
    assert corrupt.exit_code == 1
    assert "is not a file of SQLite; it was left as it is." in corrupt.stderr
    assert (tmp_path / "c" / "study.db").read_text() == "something else"
