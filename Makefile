# The whole interface: run, test, check, viz, lineage, docs, wheel; coverage is for CI. Needs CPython 3.11 to 3.13 and make; no GPU.
# The newest of the three that runs; a command of that name may be a shim that only refuses.
# `make PYTHON=python3.11` names another, for a .venv that is not there yet.
PYTHON ?= $(or $(firstword $(foreach name,python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import ensurepip, ssl' 2>/dev/null && echo $(name)))),no-python)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
CODE := src tests benchmarks notebooks .ci
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1

.PHONY: run test coverage check format viz lineage docs wheel

run: $(READY)
	$(BIN)/kedro run

test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadgroup

# Half as long again. What commands of their own run, such as `kedro run`, is not counted.
coverage: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadgroup --cov \
		--cov-report=term:skip-covered --cov-report=markdown:coverage.md

check: $(READY)
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/licences.py

format: $(READY)
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

viz: $(READY)
	$(BIN)/kedro viz run

lineage: $(READY)
	$(BIN)/python -m maskwise.lineage site
	@echo "The lineage is in site; to look at it: $(BIN)/python -m http.server -d site"

# Links and anchors that lead nowhere fail, and so does whatever the pages would ask of a server.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(BIN)/python .ci/site.py build/docs
	@echo "The documentation is in build/docs/index.html"

# The package as a file, and the lines of docs/hand_on.md run where nothing is but what it asks for.
wheel: $(READY)
	$(BIN)/python .ci/wheel.py build/wheel

# torch first and by its exact version, so that nothing else chooses a build of it. Not compiled:
# Python compiles what is imported when it first is, a small part of what would take minutes.
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "Needed: CPython 3.11, 3.12 or \
	3.13 with its modules venv and ensurepip. make PYTHON=path/to/python names one." >&2; exit 1; }
	@echo "Installing into $(VENV), with `$(BIN)/python -V`: some 2.5 GB in all, which takes minutes. First torch:"
	$(BIN)/python -m pip install -q --no-compile --progress-bar on -c constraints.txt torch==2.13.0
	@echo "Then everything else, mostly without output, for some minutes more:"
	$(BIN)/python -m pip install -q --no-compile --use-pep517 -c constraints.txt -e .[pipeline,weights,develop]
	touch $(READY)
