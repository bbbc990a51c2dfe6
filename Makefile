# make demo   set up, generate the digits accelerator, prove it by C-simulation, show the result
# make test   set up, then ruff, mypy and the tests
# make bench  set up, then the benchmarks, side by side with hls4ml
# make help   all targets
#
# Nothing is installed outside .venv. PYTHON=python3.12 chooses the interpreter; VENV another folder.
# PIP_ARGS is passed on to pip, for instance an index with the CPU build of PyTorch: a smaller download.

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt $(PIP_ARGS)

.PHONY: help venv install install-dev demo cosim test lint types pytest bench cycles cycle-model timeline search-rate explore area resources pipeline glyphs ablations wheel clean
.DEFAULT_GOAL := help

help:
	@echo "demo         generate the digits accelerator and prove it bit-exact"
	@echo "cosim        the same with the engine in SystemVerilog, simulated by Verilator"
	@echo "test         lint, types and tests"
	@echo "bench        benchmarks, side by side with hls4ml (minutes)"
	@echo "cycles       cycles of the RTL engine at DeiT shapes, by simulation (minutes)"
	@echo "cycle-model  errors of the cycle model against RTL simulation (half an hour)"
	@echo "timeline     where the cycles of DeiT-Small go, as a picture"
	@echo "search-rate  networks that the cycle model times per second"
	@echo "explore      the best accelerators for DeiT shapes on several boards (minutes)"
	@echo "area         synthesis of the RTL: LUTs, registers, DSP slices, logic depth (minutes)"
	@echo "resources    the resource model's coefficients from what area has recorded, and its errors"
	@echo "pipeline     digits: a supernet, a search at three frame rates, three proved accelerators (minutes)"
	@echo "glyphs       the same on rendered glyphs (an hour)"
	@echo "ablations    of supernet and search, on the glyphs, three seeds (hours)"
	@echo "install      the package in $(VENV)"
	@echo "install-dev  the package with what tests and benchmarks need"
	@echo "lint         ruff"
	@echo "types        mypy"
	@echo "pytest       the tests alone"
	@echo "wheel        dist/*.whl"
	@echo "clean        remove build/, dist/ and caches"

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed; name one with PYTHON=")'
	$(PYTHON) -m venv $(VENV)

venv: $(BIN)/python

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	@echo "installing into $(VENV); PyTorch is a large download"
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	$(PIP) --no-deps timm torchvision  # with them, torchvision might replace PyTorch by another build
	@touch $@

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

demo: install
	$(BIN)/qvit-hls gen examples/digits/model.pt -o build/digits --force
	$(BIN)/qvit-hls csim build/digits --data examples/digits/test.npz
	$(BIN)/qvit-hls csim build/digits --data examples/digits/test.npz --images 20 --packed --quiet

cosim: install-dev
	$(BIN)/qvit-hls gen examples/digits/model.pt -o build/digits_rtl --mac rtl --force
	$(BIN)/qvit-hls cosim build/digits_rtl
	$(BIN)/qvit-hls cosim build/digits_rtl --packed --stalls 0.3 --quiet

test: lint types pytest

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-dev
	$(BIN)/mypy

pytest: install-dev
	$(BIN)/python -m pytest -n 2

bench: install-dev
	$(BIN)/python benchmarks/csim_speed.py --json benchmarks/results/csim_speed.json
	$(BIN)/python benchmarks/hls4ml_compare.py --ours benchmarks/results/csim_speed.json --json benchmarks/results/hls4ml_compare.json
	$(BIN)/python benchmarks/numerics.py

cycles: install-dev
	$(BIN)/python benchmarks/rtl_cycles.py --json benchmarks/results/rtl_cycles.json

cycle-model: install-dev
	$(BIN)/python benchmarks/cycle_model.py --json benchmarks/results/cycle_model.json

timeline: install-dev
	$(BIN)/python benchmarks/timeline.py

# On the accelerator that timeline has recorded.
search-rate: timeline
	$(BIN)/python benchmarks/search_rate.py

area: install-dev
	$(BIN)/python benchmarks/area.py
	$(BIN)/python benchmarks/ram_geometry.py

resources: install-dev
	$(BIN)/python benchmarks/fit_resources.py

explore: install-dev
	$(BIN)/python benchmarks/explore.py --json benchmarks/results/explore.json
	$(BIN)/python benchmarks/board_scaling.py --json benchmarks/results/board_scaling.json --plot docs/images/board_scaling.png

# Networks this small are fastest in one thread.
pipeline: install-dev
	OMP_NUM_THREADS=1 $(BIN)/qvit-hls pipeline examples/digits/pipeline.yaml -o build/digits_pipeline --cpu

build/glyphs/test.npz: examples/glyphs/glyphs.py examples/glyphs/render.py | $(VENV)/.installed-dev
	$(BIN)/python examples/glyphs/render.py -o build/glyphs

glyphs: build/glyphs/test.npz
	OMP_NUM_THREADS=1 $(BIN)/qvit-hls pipeline examples/glyphs/pipeline.yaml -o build/glyphs_pipeline

ablations: build/glyphs/test.npz
	$(BIN)/python benchmarks/ablations

wheel: install-dev
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
