# One command for each thing one does here. Each makes the environment it needs first; a fresh machine needs only
# python3, git and make. `make` alone lists the commands. ARGS="..." is passed on.

.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON3 ?= python3
BIN := .venv/bin
ARGS ?=

# Two workers: the smallest machine this must pass on has two cores.
PYTEST := $(BIN)/python -m pytest -q
WORKERS ?= 2
# The engine of the small local model (100 MB) is installed only where nothing else was said to serve.
NEEDS_ENGINE := $(if $(findstring --scripted,$(ARGS))$(AOS_LLM_BACKEND)$(AOS_LLM_BASE_URL)$(ANTHROPIC_API_KEY)$(OPENAI_API_KEY),,yes)
PURE := $(wildcard tests/kernel tests/laws)

.PHONY: help
help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

.PHONY: runtime
runtime:
	@$(PYTHON3) scripts/bootstrap runtime

.PHONY: dev
dev:
	@$(PYTHON3) scripts/bootstrap dev

.PHONY: demo
demo: runtime ## watch real orders become verified changes, with the model at hand or a small one that is fetched
	@$(if $(NEEDS_ENGINE),$(PYTHON3) scripts/bootstrap local || echo "make: no engine for a local model; going on without")
	@$(BIN)/agentos demo $(ARGS)

.PHONY: test
test: dev ## all tests that need no model, no other agent and no patience
	$(PYTEST) -n $(WORKERS) -m "not model and not agents and not slow" $(ARGS)

.PHONY: chaos
chaos: dev ## kill the daemon with -9 a hundred times; AGENTOS_CHAOS_SEED=N repeats a run
	$(PYTEST) -s -m slow tests/e2e/test_daemon_kill.py $(ARGS)

# A suite that does not exist yet is said to be missing; one that exists and selects nothing is a failure.
.PHONY: test-agents
test-agents: dev ## tests that drive real command-line agents
	@if grep -rqE 'mark\.agents\b' tests; then \
		$(PYTEST) -m agents $(ARGS); \
	else \
		echo "test-agents: no test carries the mark 'agents' yet, so nothing was run"; \
	fi

.PHONY: test-model
test-model: dev ## tests that run a model on this machine (installs the extra 'local')
	@if grep -rqE 'mark\.model\b' tests; then \
		$(PYTHON3) scripts/bootstrap local && $(PYTEST) -m model $(ARGS); \
	else \
		echo "test-model: no test carries the mark 'model' yet, so nothing was run"; \
	fi

.PHONY: check
check: dev ## what must hold before a commit: style, types, layers, tidiness, docs, kernel and laws
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(PYTEST) -n $(WORKERS) tests/test_tidy.py tests/test_docs.py tests/test_imports.py $(PURE)

.PHONY: bench
bench: dev ## measure; ARGS names what
	@$(BIN)/python -m bench $(ARGS)

.PHONY: sim
sim: runtime ## run the simulator; ARGS="--seed N" repeats a run
	@$(BIN)/python -m agentos.sim $(ARGS)

.PHONY: docs
docs: dev ## write the generated pages under docs/reference anew
	@$(BIN)/python scripts/docs

.PHONY: format
format: dev ## put the code into its one layout
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lock
lock: ## renew requirements/*.txt; ARGS=--upgrade takes the newest versions
	@ARGS="$(ARGS)" scripts/lock

.PHONY: clean
clean: ## remove everything that can be made again, .venv included
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
