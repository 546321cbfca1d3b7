# The tasks of this project; `make` lists them. Each does the set-up that it needs, once.
#
#   PYTHON=python3.12 make test     choose the interpreter of a new .venv
#   make serve ARGS="--port 9000"   arguments for `interlingua serve`
#   make test ARGS="tests/types"    arguments for pytest

.DEFAULT_GOAL := help
.PHONY: help serve test check fix clients peers bench soak fuzz sbom docs clean
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
EXTRAS := server,llamacpp,onnx,tls,entra
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --quiet
PULL := $(BIN)/interlingua models pull --defaults
ARGS ?=

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: $(VENV)/.serve ## answer on http://127.0.0.1:8080 with the default models
	@$(PULL)
	@exec $(BIN)/interlingua serve $(ARGS)

test: check ## the checks, then every test, with coverage
	@$(PULL)
	@$(BIN)/python -m pytest --cov=interlingua $(ARGS)

check: $(VENV)/.dev ## format, lint, types, layers, spelling
	@$(BIN)/ruff format --check --quiet . || { echo "Run \`make fix\`." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@said=$$($(BIN)/lint-imports --no-logo 2>&1) || { echo "$$said" >&2; exit 1; }
	@$(BIN)/codespell
	@echo "check: clean"

fix: $(VENV)/.dev ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

clients: $(VENV)/.dev ## run every client made for this API, unmodified, against a real server
	@$(PULL)
	@$(BIN)/python -m clients $(ARGS)

peers: $(VENV)/.dev ## run the conformance suite with servers that others wrote behind ours
	@$(PULL)
	@$(BIN)/python -m peers $(ARGS)

bench: $(VENV)/.dev ## measure, and print the tables of docs/benchmarks.md
	@$(PULL)
	@$(BIN)/python -m bench $(ARGS)

soak: $(VENV)/.dev ## the long runs: loss, restarts, kills, reloads, memory (25 minutes)
	@$(BIN)/python -m soak $(ARGS)

fuzz: $(VENV)/.dev ## ask what nobody would, and feed the parsers anything (25 minutes)
	@$(BIN)/python -m fuzz $(ARGS)

sbom: ## write dist/sbom.cdx.json: all that an installation with its engines consists of
	@sh .ci/sbom $(EXTRAS) dist/sbom.cdx.json
	@echo dist/sbom.cdx.json

docs: $(VENV)/.dev ## write the reference pages that come from the code
	@$(BIN)/python docs/generate.py

clean: ## remove the environment and what the tools left; pulled models stay
	@rm -rf $(VENV) .clients dist .coverage .coverage.* .hypothesis .mypy_cache .ruff_cache \
		.pytest_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- Set-up ---------------------------------------------------------------------------------

$(VENV)/.made:
	@PYTHON="$(PYTHON)" sh .ci/venv $(VENV)
	@touch $@

$(VENV)/.serve: pyproject.toml $(VENV)/.made
	@echo "Installing the server and its engines into $(VENV) (about 130 MB, once)"
	@$(PIP) --editable '.[$(EXTRAS)]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.made
	@echo "Installing the server, its engines and the development tools into $(VENV) (once)"
	@$(PIP) --editable '.[$(EXTRAS),dev]'
	@touch $(VENV)/.serve $@
