# Every target sets up .venv by itself on a fresh machine. PYTHON must be 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-unit test-actors test-parts test-chaos lint bench chaos install clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Steadyframe needs Python 3.11 or newer; set PYTHON=python3.12, say")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	# torch first and by exact version: a plain range would bring the CUDA packages (README, "CPU or CUDA")
	$(BIN)/pip install --quiet $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev,train]'
	touch $@

demo: install      ## render a clip, restyle it, say where it is
	$(BIN)/steadyframe demo

test: install      ## lint, types, layers, every test: three at a time, one waits while another computes
	$(MAKE) --no-print-directory --jobs=3 --output-sync=target lint test-parts test-unit test-actors test-chaos

UNIT := unit oracles gpu
ACTORS := ui ray
CHAOS := chaos fuzz

test-unit: install ## the science and the stages
	$(BIN)/pytest $(addprefix tests/,$(UNIT))

test-actors: install ## the browser, Ray
	$(BIN)/pytest $(addprefix tests/,$(ACTORS))

test-parts: install ## servers, stores, schedules: whatever the others leave
	$(BIN)/pytest tests $(addprefix --ignore=tests/,$(UNIT) $(ACTORS) $(CHAOS))

test-chaos: install ## what happens when things die, stumble or lie, one seed each
	$(BIN)/pytest $(addprefix tests/,$(CHAOS))

lint: install      ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install     ## figures of tests/benchmarks, as ratios measured in one run
	$(BIN)/python -m tests.benchmarks

chaos: install     ## storage faults, kills, zombies, by seed
	$(BIN)/pytest tests/chaos --chaos-seeds=10

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
