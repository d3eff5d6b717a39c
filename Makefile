# `make run` starts the service, `make test` the tests but the nightly ones. Both install what is missing.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
CONFIG ?= serve_config.yaml
PORT ?=
HOST ?=
# Where the Azure 2023 conversation trace lies; without it the load is synthetic.
TRACE ?= ../shared/data/traces/azure_conv.csv
DEMO_ARGS ?=
FIDELITY_ARGS ?=
EVIDENCE_ARGS ?=
OBSERVE_ARGS ?=
PYTEST_ARGS ?=

BIN := .venv/bin
# The engine's build follows the machine: vLLM's GPU wheel where a driver answers.
HARDWARE ?= $(if $(shell nvidia-smi -L 2>/dev/null),gpu,cpu)
STAMP := .venv/installed-$(HARDWARE)
# uv does not read pip's find-links; without them the CPU build of torch comes from
# PyTorch's own index.
UV_ENV_cpu := $(if $(PIP_FIND_LINKS),UV_FIND_LINKS="$(PIP_FIND_LINKS)",UV_TORCH_BACKEND=cpu)
UV_ARGS_cpu := --overrides requirements-cpu-overrides.txt

.PHONY: help install run stop test nightly check audit fmt demo evidence fidelity observe dashboards clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv with everything in it; quick when nothing changed.

.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv

$(STAMP): pyproject.toml requirements-cpu-overrides.txt | .venv/bin/uv
	$(UV_ENV_$(HARDWARE)) $(BIN)/uv pip install --quiet --python $(BIN)/python \
		$(UV_ARGS_$(HARDWARE)) --editable '.[$(HARDWARE),dev]'
	touch $@

run: install ## Start the service in the foreground (CONFIG=, PORT=, HOST=); Ctrl-C stops it.
	@exec $(BIN)/python -m deployments.launch run --config $(CONFIG) $(if $(PORT),--port $(PORT)) $(if $(HOST),--host $(HOST))

stop: install ## Stop the service from elsewhere, and what a crash left of it.
	@$(BIN)/python -m deployments.launch stop

# A service wants the machine for itself; all other tests share it, a file to a process.
# Both parts run and say how they ended, whatever became of the first.
test: install ## Run the tests but the nightly ones, or some (PYTEST_ARGS='tests/qoe -k pace').
ifeq ($(strip $(PYTEST_ARGS)),)
	@failed=0; \
	$(BIN)/python -m pytest --durations=10 -m "not service" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder || failed=1; \
	$(BIN)/python -m pytest --durations=10 -m service || failed=1; \
	exit $$failed
else
	$(BIN)/python -m pytest $(PYTEST_ARGS)
endif

nightly: install ## The tests that take too long for every change, and much bad input.
	$(BIN)/python -m pytest --nightly $(PYTEST_ARGS)

check: install ## Format, lint and types, as CI does.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m dashboards.build --check

audit: install ## Known vulnerabilities of what is installed; fails where PyPI cannot be asked.
	@.ci/audit

fmt: install ## Format the code, and fix what the linter can.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo: install ## The same load under fcfs and andes, side by side (TRACE=, DEMO_ARGS=).
	$(BIN)/andes demo --trace $(TRACE) $(DEMO_ARGS)

evidence: install ## The page docs/results/policy.md, an hour on two cores (EVIDENCE_ARGS=).
	$(BIN)/andes evidence $(EVIDENCE_ARGS)

fidelity: install ## The real CPU engine beside its replay, and the error (FIDELITY_ARGS=).
	$(BIN)/andes fidelity $(FIDELITY_ARGS)

dashboards: install ## Write dashboards/generated from the code (ANDES_RUNBOOKS_URL=).
	$(BIN)/python -m dashboards.build

observe: install ## Prometheus and Alertmanager on the running service (OBSERVE_ARGS=).
	@exec $(BIN)/python -m deployments.observe $(OBSERVE_ARGS)

clean: ## Remove caches and what runs left, but not .venv.
	rm -rf .run .mypy_cache .pytest_cache .ruff_cache .hypothesis
