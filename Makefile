.DEFAULT_GOAL := help
.PHONY: help setup demo test hostile fmt lint types check interop httpx2 bench clean

PYTHON ?= python3.11
BIN    := .venv/bin

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/ready ## Create .venv with everything below
.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: setup ## Run the main jobs: a table, a message over HTTP, a probe of 16 neurons
	@$(BIN)/python examples/demo.py

test: setup ## Run tests; one file: make test T=tests/unit/test_registry.py
	$(BIN)/pytest -n auto $(T)

hostile: setup ## Run every hostile plugin under every hostile condition
	HOSTILE=1 $(BIN)/pytest -n auto tests/hostile

fmt: setup ## Rewrite files in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: setup ## Check style, change nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## Check types
	$(BIN)/mypy

check: lint types test ## Lint, types and tests

INTEROP := $(CURDIR)/.interop
interop: setup $(INTEROP)/bt10/ready $(INTEROP)/bt11/ready ## Talk to real neurons of bittensor 10 and 11
	INTEROP=$(INTEROP) $(BIN)/pytest -o addopts="--strict-markers --strict-config -ra" tests/interop

httpx2: $(INTEROP)/httpx2/ready ## Run the HTTP tests on httpx2
	$(INTEROP)/httpx2/bin/pytest -q -n auto $(wildcard tests/integration/test_http*.py tests/integration/test_servers*.py)

$(INTEROP)/httpx2/ready: PACKAGE := -e .[test,httpx2]
$(INTEROP)/bt10/ready: PACKAGE := bittensor==10.5.0
$(INTEROP)/bt11/ready: PACKAGE := bittensor==11.3.0
$(INTEROP)/%/ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check $(PACKAGE)
	@touch $@

bench: setup ## Measure start-up against the named yardsticks
	$(BIN)/python -m benchmarks

clean: ## Remove what the targets above made
	rm -rf .venv .interop build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
