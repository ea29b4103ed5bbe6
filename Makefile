# What a fresh machine needs: Python 3.11 or newer with venv, and make. `make run` and `make test` do the rest.
.DEFAULT_GOAL := help
.PHONY: help run test tests check format bench compile compiled prove focus focus-env lock sbom pictures clean

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
CONFIG ?= config.example.toml
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
EXTRAS := --extra aws --extra google --extra parquet --extra remote --extra otel --extra oidc --extra redis \
	--extra postgresql --extra build --extra compile
COMPILE = $(BIN)/uv pip compile pyproject.toml --quiet --no-config --universal --python-version 3.11 \
	--no-header --no-annotate --no-emit-index-url --generate-hashes $(UPGRADE)

# Workers of make test. Tests wait about as long as they compute: twice as many as CI has cores.
JOBS ?= 4
# Tests start hundreds of processes: each would compile the sources anew where an environment forbids to keep that.
export PYTHONDONTWRITEBYTECODE =

FOCUS := .venv-focus
FOCUS_PYTHON ?= $(shell for p in python3.12 python3 python $(HOME)/.pyenv/versions/3.12*/bin/python; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null && echo $$p && break; done)
FOCUS_COMPILE = $(BIN)/uv pip compile --quiet --no-config --python-version 3.12 \
	--no-header --no-annotate --no-emit-index-url --generate-hashes $(UPGRADE)

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 10

run: $(VENV)/.run compiled ## Start the gateway from config.example.toml (CONFIG=… for another)
	@exec $(BIN)/spendgate serve --config $(CONFIG)

test: $(VENV)/.test ## All checks and all tests, side by side; skipped tests are named with their reason
	@$(MAKE) --no-print-directory -j2 check tests

tests: $(VENV)/.test compiled
	$(BIN)/python -m pytest -rs -n $(JOBS)

check: $(VENV)/.test ## Style, types, layers, known weaknesses of packages (where the data can be had)
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	@$(BIN)/python deploy/audit.py

format: $(VENV)/.test ## Put the code into the repository's style
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

bench: $(VENV)/.test ## Measure speed on this machine, a quarter of an hour (BENCH=--quick: three minutes)
	$(BIN)/python bench/run.py --compile $(BENCH)

compile: $(VENV)/.test ## A wheel with the hot modules compiled, in dist/ (needs a C compiler)
	@$(BIN)/python deploy/compile.py --wheel

# What `spendgate` runs where it can: the hot modules as machine code, made anew where a source has changed.
compiled: $(VENV)/.run
	@$(BIN)/python deploy/compile.py || true

prove: $(VENV)/.test ## The slow proofs in full: crash trials, fuzzing; make test runs the small version of each
	PROVE=1 $(BIN)/python -m pytest -rs -m prove --hypothesis-seed=random

focus-env:
	@if test -n "$(FOCUS_PYTHON)"; then $(MAKE) --no-print-directory $(FOCUS)/.ready; \
		else echo "no Python 3.12: focus-validator is left out"; fi || echo "focus-validator could not be installed" >&2

focus: $(VENV)/.test $(FOCUS)/.ready ## FOCUS files before the specification's own validator (needs Python 3.12)
	FOCUS_VALIDATOR=$(CURDIR)/$(FOCUS)/bin/focus-validator $(BIN)/python -m pytest -rs tests/exports/test_focus.py

lock: $(VENV)/.test ## Renew both lock files (UPGRADE=--upgrade for the newest versions)
	$(COMPILE) $(EXTRAS) -o requirements.lock
	$(COMPILE) $(EXTRAS) --extra test -c requirements.lock -o requirements-test.lock
	@printf 'focus-validator==2.2.*\npyarrow<22\n' | $(FOCUS_COMPILE) - -o requirements-focus.lock

sbom: $(VENV)/.test ## List what is installed to run, in CycloneDX: dist/sbom.json
	@mkdir -p dist
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible \
		--of JSON -o dist/sbom.json

pictures: $(VENV)/.test ## Make the pictures of the page in docs/pictures anew; needs Chromium
	$(BIN)/python docs/pictures.py

clean: ## Remove the environment and all caches
	rm -rf $(VENV) $(FOCUS) .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer with venv is needed; set PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing requirements.lock"
	@$(PIP_INSTALL) --require-hashes -r requirements.lock
	@PYTHONWARNINGS=ignore $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: requirements-test.lock $(VENV)/.run
	@echo "installing requirements-test.lock"
	@$(PIP_INSTALL) --require-hashes -r requirements-test.lock
	@touch $@

$(FOCUS)/.ready: requirements-focus.lock
	@test -n "$(FOCUS_PYTHON)" || { echo "make: focus-validator needs Python 3.12: set FOCUS_PYTHON=/path/to/it" >&2; exit 1; }
	@$(FOCUS_PYTHON) -m venv $(FOCUS)
	@$(FOCUS)/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r $<
	@touch $@
