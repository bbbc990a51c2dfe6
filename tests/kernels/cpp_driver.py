"""Small C++ programs around one kernel header: compile, feed numbers, read numbers."""

from __future__ import annotations

import subprocess
from importlib import resources
from pathlib import Path

import numpy as np

from qvit_hls.flow.toolchain import require_ap_types, require_compiler

FUNCTIONAL = "QVIT_FUNCTIONAL"

#: Reads int64 numbers from the file argv[1] and writes those that `run` returns to argv[2].
_MAIN = """
#include <cstdint>
#include <cstdio>
#include <vector>

namespace qvit {
std::vector<int64_t> run(const std::vector<int64_t> &in);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    std::vector<int64_t> in;
    std::FILE *file = std::fopen(argv[1], "rb");
    std::fseek(file, 0, SEEK_END);
    in.resize(std::ftell(file) / 8);
    std::rewind(file);
    if (std::fread(in.data(), 8, in.size(), file) != in.size()) return 2;
    std::fclose(file);
    const std::vector<int64_t> out = qvit::run(in);
    file = std::fopen(argv[2], "wb");
    if (std::fwrite(out.data(), 8, out.size(), file) != out.size()) return 2;
    return std::fclose(file);
}
"""


class Driver:
    """A compiled driver; call it with the numbers that its ``run`` reads."""

    def __init__(self, folder: Path, source: str, *defines: str) -> None:
        """Compile ``source``, which defines ``qvit::run`` as declared above."""
        self._folder = folder
        self._program = folder / "driver"
        (folder / "driver.cpp").write_text(_MAIN + source)
        command = [
            *require_compiler().command,
            *("-std=c++14", "-O2"),
            *(f"-D{define}" for define in defines),
            f"-I{resources.files('qvit_hls') / 'hls_kernels' / 'hls'}",
            *("-isystem", str(require_ap_types().folder)),
            *(str(folder / "driver.cpp"), "-o", str(self._program)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[:4000]

    def __call__(self, *numbers: object) -> np.ndarray:
        """What ``run`` returns for all numbers (integers or arrays of them), one after the other."""
        flat = [np.asarray(number, dtype=np.int64).reshape(-1) for number in numbers]
        given, result = self._folder / "in.bin", self._folder / "out.bin"
        np.concatenate([*flat, np.empty(0, np.int64)]).tofile(given)
        done = subprocess.run([self._program, given, result], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return np.fromfile(result, np.int64)
