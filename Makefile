# Regulars. `make help` lists what there is. Needs Python 3.11 or later and nothing else; `make kafka` needs Java 17.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:

# The first Python that is new enough; PYTHON=… names another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$python; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --require-hashes --no-deps

# What a person says on make's command line is in the environment of what it starts: KAFKA, DATABASE_URL, REGULARS_PORT …

.PHONY: help
help:  ## this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- run it -----------------------------------------------------------------------------------------------------------

.PHONY: run demo kafka down verify
run: $(VENV)/run.stamp  ## the whole suite on http://127.0.0.1:8080 (REGULARS_PORT, REGULARS_DATA_DIR, KAFKA=host:port, DATABASE_URL)
	@exec $(BIN)/python -m services

demo: $(VENV)/run.stamp  ## fill the running suite with generated customers, or with a file: DATA=…/online_retail.csv.gz
	@exec $(BIN)/python -m services demo $(if $(DATA),--data "$(DATA)")

verify: $(VENV)/run.stamp  ## state hashes, queues and invariants of the suite, as JSON
	@exec $(BIN)/python -m services verify

kafka: $(VENV)/run.stamp  ## a real single-node Kafka on 127.0.0.1:9092 (Java 17 and Maven); then: make run KAFKA=127.0.0.1:9092
	@$(BIN)/python deploy/kafka/broker.py start

down:  ## stop what was started: the suite, its Postgres, Kafka
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m services down; $(BIN)/python deploy/kafka/broker.py stop; fi

# --- develop it -------------------------------------------------------------------------------------------------------

.PHONY: test check lint types imports migrations contracts manifests faults fuzz bench image format
test: $(VENV)/dev.stamp  ## all tests, on a real Postgres and a real Kafka (ARGS="tests/scoring -k tier")
	@exec $(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: lint types imports migrations contracts manifests  ## everything that needs no running: lint, types, contracts, manifests

lint: $(VENV)/dev.stamp  ## ruff: lint and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/dev.stamp  ## mypy, strict
	@$(BIN)/mypy

imports: $(VENV)/dev.stamp  ## import-linter: who may know whom
	@$(BIN)/lint-imports

migrations: $(VENV)/dev.stamp  ## every service's tables are what its migrations make
	@$(BIN)/python -m services check-migrations

contracts: $(VENV)/dev.stamp  ## the published event schemas are what the classes say, and only grew
	@$(BIN)/python -m shared.events.contracts check

manifests: $(VENV)/dev.stamp  ## render the Kubernetes manifests and validate them, offline
	@$(BIN)/python deploy/kubernetes/check.py

faults: $(VENV)/dev.stamp  ## kill, cut off and poison a running deployment (minutes)
	@REGULARS_FAULTS=full exec $(BIN)/python -m pytest tests/faults $(ARGS)

fuzz: $(VENV)/dev.stamp  ## made-up requests for every field of every operation (half an hour)
	@REGULARS_FUZZ=full exec $(BIN)/python -m pytest tests/contracts/test_fuzzing.py $(ARGS)

bench: $(VENV)/dev.stamp  ## measure and write the tables under tests/benchmarks/results (ARGS="purchase_http idle")
	@exec $(BIN)/python -m tests.benchmarks $(ARGS)

image: $(VENV)/run.stamp  ## the container images, with docker, podman or buildah (SERVICE=profile for one)
	@sh deploy/image.sh $(SERVICE)

format: $(VENV)/dev.stamp  ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

# --- set it up --------------------------------------------------------------------------------------------------------

.PHONY: lock
lock:  ## renew the lock files after a change of pyproject.toml (needs uv)
	uv pip compile -q --generate-hashes --universal --python-version 3.11 --no-header --no-annotate --extra dev \
		pyproject.toml -o requirements.lock
	uv pip compile -q --generate-hashes --universal --python-version 3.11 --no-header --no-annotate --extra embedded \
		-c requirements.lock pyproject.toml -o requirements-run.lock

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.11 or later is needed; name one with make PYTHON=…" >&2; exit 1; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Only what running needs: fewer packages, and their byte code is made at the first start, where it is used.
$(VENV)/run.stamp: requirements-run.lock | $(BIN)/python
	@$(PIP) --no-compile -r requirements-run.lock
	@touch $@

$(VENV)/dev.stamp: requirements.lock | $(BIN)/python
	@$(PIP) -r requirements.lock
	@touch $@
