# make demo   sets everything up and does the main job on an emulated tenant
# make test   sets everything up and passes the tests
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
ifneq ($(UV),)
PIP_INSTALL := $(UV) pip install --quiet --python $(BIN)/python
else
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: $(VENV)/.installed  ## a virtual environment .venv with strongroom in it

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(BIN)/python constraints.txt pyproject.toml setup.py $(wildcard cext/*.pyx cext/*.c cext/*.h)
	$(PIP_INSTALL) --require-hashes -r constraints.txt
	$(PIP_INSTALL) --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed constraints-dev.txt
	$(PIP_INSTALL) --require-hashes -r constraints-dev.txt
	touch $@

test-deps: $(VENV)/.installed-dev  ## what the tests need besides Python packages
	tests/install_system_packages.sh
	tests/install_azurite.sh
	PYTHON="$(PYTHON)" tests/install_clients.sh

lint: $(VENV)/.installed-dev  ## ruff, mypy strict, import contracts, cython-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cython-lint cext

test: test-deps lint  ## lint and every test of the fast and full lanes
	$(BIN)/python -m pytest -m "not long" $(PYTEST_ARGS)

test-long: test-deps  ## chaos, scale and soak
	$(BIN)/python -m pytest -m long --timeout 1800 $(PYTEST_ARGS)

test-s3: $(VENV)/.installed-dev  ## the blob store contract on an S3 account: STRONGROOM_TEST_S3=s3://bucket/prefix and AWS_*
	: $${STRONGROOM_TEST_S3:?set it to s3://bucket/prefix, and AWS_* to its credentials}
	$(BIN)/python -m pytest tests/contract/test_blob_store.py -k s3 $(PYTEST_ARGS)

test-azure: $(VENV)/.installed-dev  ## ... and on an Azure container with version-level immutability: STRONGROOM_TEST_AZURE=az://container/prefix and AZURE_*
	: $${STRONGROOM_TEST_AZURE:?set it to az://container/prefix, and AZURE_* to its credentials}
	$(BIN)/python -m pytest tests/contract/test_blob_store.py tests/contract/test_locks.py -k azure $(PYTEST_ARGS)

bench: install  ## figures against restic, borg and the hardware: tables, goals; BENCH_ARGS="--scale 0.3 --record FILE"
	PYTHON=$(PYTHON) benchmarks/install_peers.sh
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

demo: install  ## one backup, verification and restore on an emulated tenant
	$(BIN)/strongroom demo

constraints:  ## pin every dependency again (needs uv)
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate \
	    --no-emit-index-url --generate-hashes --upgrade -q pyproject.toml build-requirements.in -o constraints.txt
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate --extra dev -c constraints.txt \
	    --no-emit-index-url --generate-hashes --upgrade -q pyproject.toml -o constraints-dev.txt

clean:  ## remove what was built
	rm -rf build *.egg-info cext/*.so $(VENV)

.PHONY: help install test-deps lint test test-long test-s3 test-azure bench demo constraints clean
