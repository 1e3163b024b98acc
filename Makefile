# Everything runs in a virtual environment of its own, made at the first call.
#
#   make run     a server on loopback, ready to be joined
#   make demo    a server and three people in one room, as each of them sees it
#   make test    all checks and tests        make lint    the checks alone
#   make bench   what it costs, beside a reference in the same run
#   make soak    people talk for SECONDS while parts are killed: what was lost, and why
#   make install the virtual environment and the package in it, and nothing else

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TESTS ?= tests
# How long a soak kills.
SECONDS ?= 600
# trial runs the tests in as many processes as there are cores.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: install run demo test lint bench soak clean

install: $(STAMP)

$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "msrpconf needs Python 3.11 or later; this is $$($(PYTHON) --version). Try: make PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "No virtual environment can be made. On Debian: apt install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]' --config-settings editable_mode=compat
	@touch $@

run: $(STAMP)
	@$(BIN)/twistd --nodaemon --pidfile= msrpconf $(ARGS)

demo: $(STAMP)
	@$(BIN)/msrpconf demo

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy msrpconf tests benchmarks twisted/plugins

test: lint
	$(BIN)/trial --jobs=$(JOBS) $(TESTS)

bench: $(STAMP)
	$(BIN)/python benchmarks/bench.py $(ARGS)

soak: $(STAMP)
	$(BIN)/python -m tests.soak --seconds $(SECONDS) $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .hypothesis .mypy_cache .ruff_cache
