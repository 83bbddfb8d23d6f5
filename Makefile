.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.synced
BIN := $(VENV)/bin
PACKAGES := proto api process operator agents gateway cli
# Those of images/agents.Dockerfile.
IMAGE_PACKAGES := proto api process agents
TYPED := $(PACKAGES:%=%/src) $(wildcard $(PACKAGES:%=%/tests)) tools tests benchmarks conftest.py
LAPTOP := .venv-laptop
PEERS := .venv-peers
# Hundreds of processes of the tests, and each that collects them, would compile everything again.
unexport PYTHONDONTWRITEBYTECODE
RUN := proto api process agents gateway cli
WHEELS := dist
RECORDINGS := cli/src/crowetrade_cli/samples/recordings
RECORDED := $(RECORDINGS)/LICENSE.gym-anytrading
COVERAGE := 85
K ?=
# Processes that share the unit and integration tests, a file at a time: they wait for servers more than they compute.
JOBS ?= 3
# Processes that share the cluster of the end-to-end tests, a test at a time; those marked `alone` have it for themselves.
E2E_JOBS ?= 2

define CHECK_PYTHON
$(PYTHON) -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
  { echo "CroweTrade needs Python 3.11 to 3.14 with venv (Debian: apt-get install python3-venv); set PYTHON=..."; exit 1; }
endef

# The recordings that the samples play, with the pip of an environment: $(call MAKE_RECORDINGS,.venv).
define MAKE_RECORDINGS
$(1)/bin/pip download --quiet --no-deps --require-hashes -r requirements/sample-data.txt -d $(1)/sample-data
$(1)/bin/python images/sample_data.py $(1)/sample-data $(RECORDINGS)
endef

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 22

# --- use it -----------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(LAPTOP)/.ready ## Strategies that trade on this machine until Ctrl-C (needs Python alone); FOR=60 ends after a minute
	@$(LAPTOP)/bin/crowetrade run samples $(if $(FOR),--for $(FOR))

# The command and the libraries that it needs, and the sample recordings; nothing to develop with.
$(LAPTOP)/.ready: requirements/bootstrap.txt requirements/build.txt requirements/cli.txt requirements/sample-data.txt \
    images/sample_data.py $(RUN:%=%/pyproject.toml)
	@$(CHECK_PYTHON)
	@echo "[1/3] sample recordings"
	@rm -rf $(LAPTOP) && $(PYTHON) -m venv $(LAPTOP)
	@$(call MAKE_RECORDINGS,$(LAPTOP))
	@echo "[2/3] libraries"
	@$(LAPTOP)/bin/pip install --quiet --require-hashes -r requirements/bootstrap.txt
	@$(LAPTOP)/bin/uv pip sync --quiet --python $(LAPTOP)/bin/python --require-hashes requirements/bootstrap.txt requirements/build.txt requirements/cli.txt
	@echo "[3/3] CroweTrade"
	@$(LAPTOP)/bin/uv pip install --quiet --python $(LAPTOP)/bin/python --no-deps --no-build-isolation $(RUN:%=-e %)
	@touch $@

.PHONY: demo-cluster
demo-cluster: ## The same on Kubernetes (needs Docker with kind and helm, or Debian and root)
	@$(PYTHON) -m tools.demo up

.PHONY: demo-cluster-down
demo-cluster-down: ## Remove the demo and its cluster
	@$(PYTHON) -m tools.demo down

.PHONY: cluster-up
cluster-up: ## The local cluster alone, without Docker
	@$(PYTHON) -m tools.localcluster up

.PHONY: cluster-down
cluster-down: ## Stop the local cluster
	@$(PYTHON) -m tools.localcluster down

.PHONY: images
images: ## Build the images and load them into the cluster
	@$(PYTHON) -m tools.demo images

.PHONY: pin-images
pin-images: $(STAMP) ## Write the digests of the base image, NATS and Vault (needs skopeo and their registries)
	$(BIN)/python -m tools.pin_images

.PHONY: sbom
sbom: $(STAMP) ## Write what is in each image into images/sbom/ (CycloneDX); `make generate` does it as well
	$(BIN)/python -m tools.sbom

.PHONY: wheels
wheels: $(STAMP) $(RECORDED) ## Wheels of all packages, into dist/: pip install dist/*.whl is the command with its samples
	rm -rf $(WHEELS)
	@for package in $(PACKAGES); do \
	  $(BIN)/uv build --quiet --offline --no-build-isolation --python $(BIN)/python --wheel --out-dir $(WHEELS) $$package; done

# --- develop it -------------------------------------------------------------------------------------------------------

.PHONY: venv
venv: $(STAMP) $(RECORDED) ## The Python environment (.venv)

$(STAMP): requirements/bootstrap.txt requirements/dev.txt $(PACKAGES:%=%/pyproject.toml)
	@$(CHECK_PYTHON)
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip sync --quiet --require-hashes requirements/dev.txt
	$(BIN)/uv pip install --quiet --no-deps --no-build-isolation $(PACKAGES:%=-e %)
	@touch $@

$(RECORDED): requirements/sample-data.txt images/sample_data.py | $(STAMP)
	$(call MAKE_RECORDINGS,$(VENV))

.PHONY: lint
lint: $(STAMP) ## ruff, mypy --strict, import rules, hadolint, buf, known vulnerabilities (ADVISORIES=required: fail when unknown)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports
	$(BIN)/hadolint images/*.Dockerfile cli/src/crowetrade_cli/projects/strategy/Dockerfile
	cd proto && ../$(BIN)/buf lint
	@$(MAKE) --no-print-directory proto-breaking
	@$(BIN)/python -m tools.pin_images --list
	@$(BIN)/python -m tools.advisories $(if $(ADVISORIES),--required)

# The branch that changes are made against; in a clone without it there is nothing to compare with. Nothing is compared
# across generations either: a break on purpose, before there is a release, adds one to proto/GENERATION.
BASE := $(shell git rev-parse --quiet --verify --symbolic-full-name main || git rev-parse --quiet --verify --symbolic-full-name origin/main)

.PHONY: proto-breaking
proto-breaking: $(STAMP)
	@if test -n "$(BASE)" && test "$$(git show '$(BASE):proto/GENERATION' 2>/dev/null)" = "$$(cat proto/GENERATION)"; then \
	  echo "buf breaking against $(BASE)" && cd proto && ../$(BIN)/buf breaking --against "../.git#ref=$(BASE),subdir=proto"; \
	else echo "buf breaking: skipped, branch main has no .proto files of this generation to compare with"; fi

.PHONY: generate
generate: $(STAMP) ## Regenerate CRDs, the chart's CRDs and the Python of the .proto files
	$(BIN)/python -m tools.generate
	PYTHONPATH=api/tests:process/tests:agents/tests:operator/tests $(BIN)/python -m tests.gitops.argocd

.PHONY: rbac-page
rbac-page: $(STAMP) cluster-binaries ## Write what each role of the chart may do into docs/rbac.md, from what helm renders
	PYTHONPATH=api/tests:process/tests:agents/tests:operator/tests $(BIN)/python -m crowetrade_operator_tests.rbac_page

.PHONY: generate-proto
generate-proto: $(STAMP) ## Regenerate the Python of the .proto files only
	$(BIN)/python -m tools.generate_proto

.PHONY: verify
verify: $(STAMP) ## Fail when a generated file differs from its source
	$(BIN)/python -m tools.generate --check

.PHONY: test-unit
test-unit: $(STAMP) ## Unit tests
	$(BIN)/python -m pytest -m 'not e2e and not integration'

.PHONY: test-integration
test-integration: $(STAMP) $(RECORDED) ## Tests with real servers (NATS) that they start themselves
	$(BIN)/python -m pytest -m integration

.PHONY: test-simulation
test-simulation: $(STAMP) ## A few hundred short seeds of the simulation of the order path
	$(BIN)/python -m pytest tests/simulation

.PHONY: browser
browser: ## Chromium for the tests of pages: Debian's, as root; elsewhere it says what to install
	@$(PYTHON) -m tools.browser

.PHONY: screenshots
screenshots: $(STAMP) $(RECORDED) browser ## Make the pictures in docs/images again, from real runs
	CROWETRADE_SCREENSHOTS=$(CURDIR)/docs/images $(BIN)/python -m pytest -m screenshots

# Runs until a seed fails or it is stopped, on all cores; SEED=123 repeats one.
.PHONY: simulate
simulate: $(STAMP) ## Seeds of the simulation until one fails; SEED=123 STEPS=3000 repeat one
	$(BIN)/python -m tests.simulation $(SEED) $(if $(STEPS),--steps $(STEPS))

PARALLEL_TESTS := -m 'not e2e' -n $(JOBS) --dist loadfile --durations=30

.PHONY: test-parallel
test-parallel: $(STAMP) $(RECORDED) ## Unit and integration tests in JOBS=3 processes
	$(BIN)/python -m pytest $(PARALLEL_TESTS)

# Before a release, and not with each test run: what is measured takes twice the time. Tests marked no_cover are run as all
# others and not measured, because they repeat what others run (thousands of examples, a recorded hour).
.PHONY: coverage
coverage: $(STAMP) $(RECORDED) cluster-binaries browser ## The same tests with branch coverage of at least $(COVERAGE) %
	$(BIN)/python -m pytest $(PARALLEL_TESTS) --cov --cov-report=term-missing:skip-covered --cov-fail-under=$(COVERAGE)

.PHONY: test-e2e
test-e2e: $(STAMP) ## Promises against a real cluster; K=suspend runs those that match
	$(BIN)/python -m pytest tests/e2e $(if $(K),-k '$(K)') -n $(E2E_JOBS) --maxschedchunk=1 --durations=10

# Hours on one core the first time, in random order: what is done when it is stopped is a sample. The next time it goes on,
# and tries again what changed. ARGS='risk.gate.*' tries a module, ARGS='--again survived' what survived (after a test was
# added), ARGS='--tests 100' no more tests per mutant, ARGS=--report prints the results of earlier runs.
.PHONY: mutation
mutation: $(STAMP) ## Mutation testing of gateway, risk and journal: the score per package, and the survivors
	cd gateway && HYPOTHESIS_PROFILE=mutation PYTHONPATH=.. ../$(BIN)/python -m tools.mutation $(ARGS)

# A short version is among the integration tests.
.PHONY: chaos
chaos: $(STAMP) ## Kill gateway and venue again and again, compare order by order; ROUNDS=200 SEED=1 KIND=frozen. Then the operator
	$(BIN)/python -m tests.chaos $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SEED),--seed $(SEED)) $(if $(KIND),--kind '$(KIND)')
	$(MAKE) --no-print-directory chaos-operator

.PHONY: chaos-operator
chaos-operator: $(STAMP) cluster-binaries ## Kill and freeze operators, spoil requests for SECONDS=120, restart and restore the control plane, set the clock
	CROWETRADE_CHAOS=1 CROWETRADE_FAULT_SECONDS=$(or $(SECONDS),120) CROWETRADE_FAULT_SEED=$(or $(SEED),1) \
	CROWETRADE_LEASE_SECONDS=15,10,2 CROWETRADE_BUS_SECONDS=$(or $(SECONDS),120) $(BIN)/python -m pytest -s --log-level=CRITICAL \
	$(addprefix operator/tests/crowetrade_operator_tests/integration/test_,failover.py faults.py control_plane.py bus_down.py clock.py) \
	operator/tests/crowetrade_operator_tests/authorizer/test_three_servers.py

# The operator's integration tests run a real API server; the first run compiles it (cached afterwards).
.PHONY: cluster-binaries
cluster-binaries:
	@$(PYTHON) -m tools.localcluster build --only binaries

.PHONY: test
test: $(STAMP) ## What CI runs: lint, verify, unit and integration tests, the simulation, then end to end on a real cluster
	$(MAKE) --no-print-directory lint verify
	$(MAKE) --no-print-directory cluster-binaries browser
	$(MAKE) --no-print-directory test-parallel
	$(MAKE) --no-print-directory test-simulation
	$(MAKE) --no-print-directory test-e2e

# What a pod runs: the libraries of the agents' image and no others, because some import whatever they find installed.
$(VENV)/agents/.synced: requirements/agents.txt $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(BIN)/uv pip sync --quiet --python $(@D) --require-hashes --compile-bytecode requirements/agents.txt
	$(BIN)/uv pip install --quiet --python $(@D) --no-deps --no-build-isolation $(IMAGE_PACKAGES:%=-e %)
	@touch $@

# Parts of the tests make what is measured: gateways that share a limit, an API server.
bench bench-gateway bench-network bench-operator bench-operator-large bench-risk: export PYTHONPATH := api/tests:process/tests:agents/tests:operator/tests

.PHONY: bench
bench: $(VENV)/agents/.synced $(PEERS)/.synced $(RECORDED) cluster-binaries ## Measure everything: a JSON line per figure, kept in benchmarks/results/
	$(BIN)/python -m benchmarks

.PHONY: bench-gateway
bench-gateway: $(VENV)/agents/.synced ## Measure the order path, with TLS and without, and write docs/performance.md
	$(BIN)/python -m benchmarks gateway identity
	$(BIN)/python -m tools.performance

# What CroweTrade's backtests are measured beside: libraries that nothing else here needs.
$(PEERS)/.synced: requirements/peers.txt $(STAMP)
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	$(BIN)/uv pip sync --quiet --python $(@D) --require-hashes --compile-bytecode requirements/peers.txt
	@touch $@

.PHONY: bench-backtest
bench-backtest: $(PEERS)/.synced $(RECORDED) ## Backtests beside their peers: the same trades, and how fast; sweeps; the demo's first fill
	$(BIN)/python -m pytest -q tests/peers
	$(BIN)/python -m benchmarks backtest
	$(BIN)/python -m tools.performance

.PHONY: bench-operator
bench-operator: $(STAMP) cluster-binaries ## Measure the operator with a fleet: BENCH_STRATEGIES, BENCH_VENUES, BENCH_NAMESPACES, BENCH_GROWTH
	$(BIN)/python -m benchmarks operator
	$(BIN)/python -m tools.performance

.PHONY: bench-operator-large
bench-operator-large: export BENCH_STRATEGIES := 10000
bench-operator-large: export BENCH_VENUES := 100
bench-operator-large: export BENCH_NAMESPACES := 50
bench-operator-large: export BENCH_SECONDS := 30
bench-operator-large: export BENCH_GROWTH := 1000,3000,10000
bench-operator-large: bench-operator ## The same with 10,000 Strategies on 100 venues; about 45 minutes on two quiet cores

.PHONY: bench-network
bench-network: $(STAMP) ## Measure how soon a NetworkPolicy is in force on the cluster of the demo
	$(BIN)/python -m benchmarks network
	$(BIN)/python -m tools.performance

.PHONY: bench-risk
bench-risk: $(STAMP) $(RECORDED) cluster-binaries ## Measure the gate, kill orders, shares, and how fast limits and kill orders reach 20 gateways
	$(BIN)/python -m benchmarks risk
	$(BIN)/python -m tools.performance
