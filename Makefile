# Two commands do everything on a machine with Python 3.11, make and git: `make demo` and `make test`.

PYTHON ?= python3.11
SECONDS ?= 30
RUNS ?= 10
SEED ?= 1
SECONDS_EACH ?= 8
FAULTS ?=
FEED ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

COMPILE := uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --no-header --python-version 3.11

.PHONY: help setup demo test check chaos fuzz audit-dependencies bench diagrams notebooks lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

# One stamp a lock file, so that `make demo` does not install what only the tests need.
$(VENV)/.demo: locks/demo.txt pyproject.toml setup.cfg
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes -r locks/demo.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: locks/dev.txt $(VENV)/.demo
	$(INSTALL) --require-hashes -r locks/dev.txt
	@touch $@

setup: $(VENV)/.dev ## create .venv with everything in it

demo: $(VENV)/.demo ## simulator, embedded PulseStream and bridge together, then the audit (SECONDS=30)
	@$(BIN)/rxbridge demo --seconds $(SECONDS)

# Most of the tests wait for something most of the time: four at once are fast on two cores.
# Hundreds of them are processes of their own, of which each would compile all modules where Python is told to keep none.
test: check ## lint, types, layers, then every test
	@$(BIN)/python -m compileall -q rxbridge operators tests
	$(BIN)/python -m pytest -n 4 --dist worksteal

check: $(VENV)/.dev ## lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

chaos: $(VENV)/.dev ## random faults against the real processes, then the audit (RUNS=10 SEED=1, FAULTS=kill,drop, FEED=advanced)
	@$(BIN)/python -m tests.chaos --runs $(RUNS) --seed $(SEED) --seconds $(SECONDS_EACH) --faults "$(FAULTS)" \
		$(if $(FEED),--feed $(FEED))

# Tools that nothing else needs, each in an environment of its own.
$(VENV)/fuzz/.done: locks/demo.txt locks/fuzz.txt pyproject.toml setup.cfg
	@test -x $(VENV)/fuzz/bin/python || $(PYTHON) -m venv $(VENV)/fuzz
	$(VENV)/fuzz/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r locks/demo.txt -r locks/fuzz.txt
	@touch $@

$(VENV)/audit/.done: locks/audit.txt
	@test -x $(VENV)/audit/bin/python || $(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/audit.txt
	@touch $@

fuzz: RUNS = 1000000
fuzz: $(VENV)/fuzz/.done ## search for inputs that do harm, guided by coverage (RUNS=1000000 SEED=1)
	@$(VENV)/fuzz/bin/python -m tests.fuzz --runs $(RUNS) --seed $(SEED)

audit-dependencies: $(VENV)/audit/.done ## known vulnerabilities of the locked packages (needs the network)
	@for lock in base demo dev fuzz audit; do \
		echo "locks/$$lock.txt"; \
		$(VENV)/audit/bin/pip-audit --strict --require-hashes --disable-pip --requirement locks/$$lock.txt || exit 1; \
	done

bench: $(VENV)/.dev ## the benchmark table, and benchmarks/results.json
	$(BIN)/python -m benchmarks

diagrams: $(VENV)/.dev ## draw the pictures of docs/operators.md anew, from runs of the operators
	$(BIN)/python -m docs.diagrams

notebooks: $(VENV)/.dev ## run the notebooks, and write their pages in docs/notebooks anew
	$(BIN)/python -m docs.notebooks

lock: ## write the lock files anew (needs uv)
	$(COMPILE) locks/build.in -o locks/build.txt
	$(COMPILE) -c locks/build.txt pyproject.toml -o locks/base.txt
	$(COMPILE) -c locks/base.txt --extra demo pyproject.toml locks/build.in -o locks/demo.txt
	$(COMPILE) -c locks/demo.txt --extra dev pyproject.toml locks/build.in -o locks/dev.txt
	$(COMPILE) -c locks/demo.txt locks/fuzz.in -o locks/fuzz.txt
	$(COMPILE) locks/audit.in -o locks/audit.txt

clean: ## remove .venv and everything that tools leave behind
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache benchmarks/results.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
