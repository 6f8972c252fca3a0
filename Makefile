# make demo · make test · make check. The environment is .venv beside this file; outputs go under runs/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check clean
.DELETE_ON_ERROR:

# The stamp is remade when the dependencies change, so a stale environment repairs itself.
$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,dev]'
	touch $@

demo: $(VENV)/ready
	PYTHON=$(BIN)/python OUTPUT=runs/demo ./example_usage.sh

test: $(VENV)/ready
	$(BIN)/python -m pytest --cov --cov-report=term

check: $(VENV)/ready
	$(BIN)/ruff check src tests experiments main_dynn.py
	$(BIN)/ruff format --check src tests experiments main_dynn.py
	$(BIN)/mypy

clean:
	rm -rf $(VENV) runs
