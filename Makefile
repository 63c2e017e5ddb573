# Every target does its own set-up; a machine needs Python 3.11 to 3.13 and make, nothing else.
SHELL := /bin/bash
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	$$each -c '$(FITS)' 2>/dev/null && echo $$each && break; done)
VENV := .venv
RUN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true
export OPENBLAS_NUM_THREADS := 1

.DEFAULT_GOAL := help
.PHONY: help install demo serve test check format bench notebooks evidence lock clean

help:  ## Show this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(INSTALLED)  ## Make .venv with everything, as the lock says

$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 to 3.13 is needed; name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	test -x $(RUN)/python || $(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(RUN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

demo: $(INSTALLED)  ## Database, synthetic world, training, publishing and the service; Ctrl-C stops all
	exec $(RUN)/vernissage demo

serve: $(INSTALLED)  ## Serve from the database that is there
	exec $(RUN)/vernissage serve

test: $(INSTALLED)  ## All tests, with branch coverage
	$(RUN)/python -m pytest --numprocesses 2 --dist loadfile --cov --cov-report=term:skip-covered $(ARGS)

check: $(INSTALLED)  ## Lint, types and the direction of imports
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

format: $(INSTALLED)  ## Format and mend what can be mended
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

bench: $(INSTALLED)  ## Benchmarks, each as a ratio within one run
	$(RUN)/python -m tests.benchmarks

notebooks: $(INSTALLED)  ## Execute the notebooks on small data
	$(RUN)/python -m pytest tests/notebooks $(ARGS)

evidence: $(INSTALLED)  ## Show a figure: make evidence NAME=faults; without NAME: list them
	@if [ -z "$(NAME)" ]; then $(RUN)/python -m tests.evidence; else PYTHONPATH=. $(RUN)/python tests/evidence/$(subst -,_,$(NAME)).py $(ARGS); fi

lock:  ## Renew the lock files (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--extra dev pyproject.toml --output-file requirements.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--constraint requirements.lock pyproject.toml --output-file requirements-serving.lock

clean:  ## Remove what the targets made, the local database included
	-$(RUN)/vernissage db stop
	rm -rf $(VENV) .vernissage build *.egg-info .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
