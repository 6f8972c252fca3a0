# make demo · make test · make check · make docs. The environment is .venv beside this file; outputs go under runs/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Neighbouring tests stay in one process, which makes what they share once.
PARALLEL := -n auto --dist worksteal

.PHONY: demo models test test-slow test-release test-cluster test-wheel test-oldest test-extras coverage check docs clean
.DELETE_ON_ERROR:

# The stamp is remade when the dependencies change, so a stale environment repairs itself.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	touch $@

demo: $(VENV)/ready
	PYTHON=$(BIN)/python OUTPUT=runs/demo ./example_usage.sh

# The built-in models, from images to card: make models UCM=FOLDER EUROSAT=FOLDER
models: $(VENV)/ready
	@test -n "$(UCM)" -a -n "$(EUROSAT)" || { echo 'usage: make models UCM=FOLDER EUROSAT=FOLDER' >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,export]'
	$(BIN)/python experiments/models.py aerial "$(UCM)"
	$(BIN)/python experiments/models.py sentinel2 "$(EUROSAT)"

test: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)

# Tests marked slow: several processes, long populations.
test-slow: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "slow and not release"

# What the other tests do at full length, and thousands of mutated files.
test-release: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m release

# The Ray engine on clusters of two nodes, which are processes of this machine: minutes.
test-cluster: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[cluster]'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/cluster

# The built wheel with the base dependencies alone: no torch. Then the same with the oldest versions that are allowed.
test-wheel:
	PYTHON=$(PYTHON) .ci/base_tests .venv-wheel constraints.txt

test-oldest:
	$(PYTHON) .ci/oldest_versions.py > .oldest-constraints.txt
	PYTHON=$(PYTHON) .ci/base_tests .venv-oldest .oldest-constraints.txt

# The wheel with each extra alone, each in a fresh environment, and the wheel from the source distribution: many minutes.
test-extras:
	$(PYTHON) .ci/extras.py $(EXTRAS)

coverage: $(VENV)/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term

check: $(VENV)/ready
	$(BIN)/ruff check src tests experiments docs .ci main_dynn.py
	$(BIN)/ruff format --check src tests experiments docs .ci main_dynn.py
	$(BIN)/mypy

docs: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python docs/generate.py
	$(BIN)/zensical build --clean --strict

clean:
	rm -rf $(VENV) .venv-wheel .venv-oldest .oldest-constraints.txt dist runs site
