# One command each for running, testing and measuring. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install run test lint types fix bench check clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "zqueue needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version 2>&1`. Try: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); $(PYTHON) -m venv --without-pip $(VENV) && $(PYTHON) -m pip --quiet --python $(BIN)/python install pip; }

# The stamps make an unchanged install cost nothing.
$(VENV)/.service: pyproject.toml | $(BIN)/python
	@echo "Installing the service into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[service]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing the service and the test tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.service

install: $(VENV)/.dev ## Make .venv with everything in it

run: $(VENV)/.service ## Start it all: Valkey, API, worker and a catch-all inbox
	@exec $(BIN)/python -m service up

lint: $(VENV)/.dev ## Style, spelling and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports --no-cache

types: $(VENV)/.dev ## Static types, tests included
	$(BIN)/mypy

fix: $(VENV)/.dev ## Let the tools mend what they can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Tests wait as much as they compute: three processes keep two cores busy. They start many programs, which compile faster
# what is kept compiled.
PROCESSES ?= $(shell echo $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 )))

test: lint types ## Lint, types, import rules and all tests, in several processes
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(PROCESSES) -p tests.spread --dist loadgroup --cov --cov-report=term --cov-fail-under=90

check: test ## The same as test

bench: $(VENV)/.dev ## Measure on this machine
	$(BIN)/python -m benchmarks

clean: ## Remove .venv and caches (never data/)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* build dist
