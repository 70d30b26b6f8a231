# One-line targets; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DAGSTER_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
export DBT_SEND_ANONYMOUS_USAGE_STATS := False
.DEFAULT_GOAL := help

.PHONY: help install demo demo-text ui test-fast test test-simulation test-long test-long-failed test-full wheel-check lint bench docs evidence clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 14), f"Sightline needs Python 3.11 to 3.13, found {sys.version.split()[0]}: set PYTHON=python3.12"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[demo,test]' -e ./client
	touch $@

install: $(VENV)/.installed ## Make .venv and install everything from the pinned constraints

demo: install ## Replay a year of real flights: log, aggregates, judgements, alerts (about 8 minutes)
	$(BIN)/python -m demo

demo-text: install ## Sixteen weeks of generated support tickets: texts, embeddings, changes put in and found (7 minutes of CPU)
	$(BIN)/python -m demo.tickets

ui: install ## Open the Dagster UI on what is in this folder (monitors/, data/)
	$(BIN)/sightline ui

test-fast: install ## The tests that need no dbt, no Dagster and no simulation (under 90 s)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not long and not full and not browser and not e2e" tests/unit tests/docs

test: install ## Run the test suite (15 to 35 minutes on 2 cores)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not long and not full and not browser and not e2e and not simulation" --durations 25 tests

test-simulation: install ## The simulations of the statistics at a tenth of their size (about 10 minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "simulation and not full" --durations 25 tests/simulation

test-long: install ## Fault and load runs, real servers and a real browser (15 to 25 minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "(long or browser or e2e) and not full and not simulation" --durations 25 tests

test-full: install ## Simulations and fault runs at their full sizes, those of docs/evidence.md (more than half an hour)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m full --durations 25 tests

test-long-failed: install ## Run again what the last `make test-long` left failed
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none -m "(long or browser or e2e) and not full and not simulation" tests

wheel-check: install ## Build the wheel and use it in an empty environment and an empty folder
	$(BIN)/python tests/wheel_check.py

lint: install ## ruff and pyright
	$(BIN)/ruff check . && $(BIN)/pyright

bench: install ## The daily path as a ratio to a plain scan; `python -m benchmarks` lists the others
	$(BIN)/python -m benchmarks daily_path

docs: install ## Write schemas/, docs/spec.md and docs/metrics.md anew from the code
	$(BIN)/python -m sightline.spec.docs

evidence: install ## Write docs/evidence.md anew from what the last `make test-full` measured
	$(BIN)/python -m tests.simulation.write_evidence

clean: ## Remove what the demo and the tests made (keeps .venv)
	rm -rf data dagster_home build dist .pytest_cache .hypothesis tests/.artifacts
