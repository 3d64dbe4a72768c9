# skep. `make help` lists what can be done; everything runs in .venv and needs only Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install run test test-real nightly check fmt bench schemas docs lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## the virtual environment, pinned versions

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("skep needs Python 3.11 or newer; set PYTHON=python3.x" if sys.version_info < (3, 11) else 0)'
	@echo "skep: installing into $(VENV) (once; PyTorch is the large part)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q -c constraints.txt -e '.[train,dev]'
	@touch $(STAMP)

run: $(STAMP) ## one training job over three sites on this machine (about 3 minutes)
	@$(BIN)/skep run examples/tinygpt/job.yaml --compare-alone

test: $(STAMP) ## unit, property, contract, scenario and integration tests
	@$(BIN)/python -m pytest

test-real: $(STAMP) ## the long suites: real processes killed at random, whole runs
	@$(BIN)/python -m pytest -m real --timeout 1800

nightly: $(STAMP) ## 100,000 examples of each property: many hours
	@SKEP_HYPOTHESIS=nightly $(BIN)/python -m pytest --reruns 0 tests/property tests/unit

check: $(STAMP) ## linters: formatting, types, layers
	@$(BIN)/ruff format --check src tests examples benchmarks
	@$(BIN)/ruff check src tests examples benchmarks
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: $(STAMP) ## format the code
	@$(BIN)/ruff format src tests examples benchmarks
	@$(BIN)/ruff check --fix src tests examples benchmarks

bench: $(STAMP) ## benchmarks, each prints a table
	@for b in benchmarks/*.py; do echo "== $$b"; $(BIN)/python $$b || exit 1; done

schemas: $(STAMP) ## write the JSON Schemas of the files again
	@$(BIN)/python -m skep.files.schema
	@$(BIN)/python -m skep.sim.schema

lock: $(STAMP) ## pin what is installed now in constraints.txt
	@{ echo '# The versions that CI tests. Regenerate with `make lock`.'; \
	   $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu//'; } > constraints.txt

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
