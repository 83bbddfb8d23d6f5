.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.synced
BIN := $(VENV)/bin

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 20

$(STAMP): requirements/bootstrap.txt requirements/dev.txt proto/pyproject.toml operator/pyproject.toml agents/pyproject.toml
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "CroweTrade needs Python 3.11 to 3.13 with venv (Debian: apt-get install python3-venv); set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip sync --quiet --require-hashes requirements/dev.txt
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e proto -e operator -e agents
	@touch $@

.PHONY: lint
lint: $(STAMP) ## ruff, mypy --strict, buf lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy proto/src proto/tests tools/generate_proto.py
	cd proto && ../$(BIN)/buf lint

.PHONY: generate
generate: $(STAMP) ## Regenerate what is generated
	$(BIN)/python -m tools.generate_proto

.PHONY: verify
verify: $(STAMP) ## Fail when a generated file differs from its source
	@out=$$(mktemp -d) && trap 'rm -rf "$$out"' EXIT && $(BIN)/python -m tools.generate_proto "$$out" && \
	  for area in bus config gateway; do diff -r -x __pycache__ "$$out/crowetrade/$$area" proto/src/crowetrade/$$area || \
	  { echo "generated files differ: run 'make generate' and commit"; exit 1; }; done

.PHONY: test-unit
test-unit: $(STAMP) ## Unit tests
	$(BIN)/pytest -m 'not e2e' proto/tests

.PHONY: test
test: lint verify test-unit ## Everything CI runs
