# `make demo` is all that is needed on a fresh machine: it makes .venv, then a talking head from the bundled speech.
PY := .venv/bin/python
export PYTHON

.PHONY: help env env-dev env-lint env-types demo web live static test pipecat fuzz lint style types format lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/' | awk -F': *' '{printf "  make %-8s %s\n", $$1, $$2}'

env:  ## .venv with the packages the programs need
	@bash setup/ensure_system.sh --python
	@bash setup/ensure_env.sh

env-dev:
	@bash setup/ensure_system.sh --python
	@bash setup/ensure_env.sh dev

env-lint:
	@bash setup/ensure_system.sh --only-python
	@bash setup/ensure_env.sh lint

env-types:
	@bash setup/ensure_system.sh --only-python
	@bash setup/ensure_env.sh types

demo: env  ## a video from the bundled speech with the embedded model
	$(PY) demo.py
	@echo "video: $$(find demo/output -name '*.mp4' -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)"

web:  ## the web demo on this machine
	@bash setup/ensure_system.sh --python
	@bash setup/ensure_env.sh web
	$(PY) -m web.app

live:  ## the live server for other programs on this machine
	@bash setup/ensure_system.sh --python
	@bash setup/ensure_env.sh web
	$(PY) -m web.serve

static: env-dev  ## the page that needs no server, into build/static_demo
	$(PY) -m setup.build_static_demo

test: env-dev  ## all tests, in up to four processes
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --maxprocesses 4 --dist worksteal

pipecat: env-dev .venv-pipecat/installed  ## the Pipecat example in a pipeline, in an environment of its own
	.venv-pipecat/bin/python -m pytest --noconftest tests/examples/pipecat_pipeline.py

.venv-pipecat/installed: setup/locks/pipecat.txt | env-dev
	$(PY) -m venv --without-pip .venv-pipecat
	$(PY) -m pip --python .venv-pipecat/bin/python --disable-pip-version-check -qq \
		install --no-compile --no-deps --require-hashes -r $<
	touch $@

fuzz: env-dev  ## thousands of damaged and hostile files for every reader, for half a minute
	$(PY) -m tests.fuzz --seconds 35

lint: style types  ## style and types

style: env-lint  ## ruff; needs no torch
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: env-types  ## pyright (basic) on models, datasets, utils, scripts_for_dataset and the programs
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(PY) -m pyright

format: env-lint  ## put the code into the checked style
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lock:  ## setup/locks from requirements*.txt; needs uv
	@bash setup/lock.sh

clean:  ## remove .venv, caches and generated videos
	rm -rf .venv .venv-pipecat .pytest_cache .ruff_cache demo/output/*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
