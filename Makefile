# The whole interface: run, test, check, viz, lineage. Needs CPython 3.11 and make; no GPU.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
CODE := src tests benchmarks notebooks
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1

.PHONY: run test check format viz lineage

run: $(READY)
	$(BIN)/kedro run

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadgroup

check: $(READY)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

viz: $(READY)
	$(BIN)/kedro viz run

lineage: $(READY)
	$(BIN)/python -m maskwise.lineage site

# torch first and by its exact version, so that nothing else chooses a build of it.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install -q -c constraints.txt -e .[pipeline,develop]
	touch $(READY)
