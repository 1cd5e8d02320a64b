# The commands of the project. `make` alone lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
UV := tools/uv
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
RUN := .venv/.made-run
DEV := .venv/.made-dev
EXAMPLES := docs/examples/node_modules/.made
CLIENTS := docs/clients/node_modules/.made
KSERVE := .venv-kserve/.made

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(RUN) ## make the environment in .venv, locked by hash

demo: $(RUN) ## upload, train, shrink and serve a real set of images; TASK=text of texts; DATA=archive.zip takes yours
	@$(BIN)/espalier demo $(if $(TASK),--task "$(TASK)") $(if $(DATA),--data "$(DATA)") $(ARGS)

up: $(RUN) ## start the local stack and leave it running; Ctrl-C stops all of it
	@$(BIN)/espalier up $(ARGS)

test: $(DEV) $(EXAMPLES) $(CLIENTS) $(KSERVE) ## run every test; ARGS="-k name" runs some
	@$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(DEV) $(CLIENTS) ## lint, types, import rules, and that nothing generated is stale
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python tools/locks.py --check
	@$(BIN)/python -m service.openapi --check
	@$(BIN)/python -m service.protocol.messages --check
	@tools/lint_openapi
	@$(BIN)/python -m models_store.pages --check
	@$(BIN)/python samples/cut_demo.py --check

format: $(DEV) ## rewrite the code as `make check` wants it
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

generated: $(DEV) ## write again what is generated: the OpenAPI document, gRPC descriptors, docs/spec.md, docs/settings.md
	@$(BIN)/python -m service.protocol.messages --write
	@$(BIN)/python -m service.openapi --write
	@$(BIN)/python -m models_store.pages --write

lock: $(DEV) ## renew the lock files after a change of pyproject.toml; ARGS=--upgrade takes newer versions
	@$(BIN)/python tools/locks.py $(if $(ARGS),$(ARGS),--write)

gpu-check: $(DEV) ## the GPU tests and every benchmark, on the machine at hand
	@tools/gpu_check $(ARGS)

clean: ## remove what tools leave behind; keeps .venv and the data in .espalier
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build *.egg-info
	@find . -name __pycache__ -type d -not -path './.venv*/*' -not -path './.uv/*' -prune -exec rm -rf {} +

distclean: clean ## clean, and remove the environment too
	@rm -rf .venv .venv-kserve .uv docs/examples/node_modules docs/clients/node_modules

$(RUN): requirements.lock pyproject.toml tools/uv
	@test -x $(BIN)/python || $(UV) venv --quiet --python '>=3.11' .venv
	@echo "installing the locked environment into .venv (about 6 GB, nearly all of it torch and CUDA)"
	@$(INSTALL) --require-hashes -r requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@tools/compile_bytecode
	@touch $@

$(DEV): requirements-dev.lock $(RUN)
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

$(EXAMPLES): docs/examples/package-lock.json
	@if (cd docs/examples && npm ci --silent) && touch $@; then :; \
	else echo "npm could not install docs/examples: their tests in a browser will be skipped"; fi

$(CLIENTS): docs/clients/package-lock.json
	@if (cd docs/clients && npm ci --silent) && touch $@; then :; \
	else echo "npm could not install docs/clients: its linters and the tests of TypeScript clients will be skipped"; fi

$(KSERVE): tests/kserve/requirements.lock tools/uv
	@if $(UV) venv --quiet --clear --python '>=3.11' .venv-kserve && $(UV) pip install --quiet --python .venv-kserve/bin/python \
		--require-hashes -r tests/kserve/requirements.lock && touch $@; then :; \
	else echo "KServe's client could not be installed: its tests will be skipped"; fi

.PHONY: help setup demo up test check format generated lock gpu-check clean distclean
