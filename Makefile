# The README's two commands are `make demo` and `make test`; both set everything up first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
CLIENTS := .venv-kserve
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup clients demo test check bench bench-tiny pictures lock clean

help:
	@echo "make demo    set up, then run the seven stages on examples/clicks"
	@echo "make test    set up, then run all tests"
	@echo "make check   set up, then lint, format, types and layers"
	@echo "make bench   set up, then run the benchmarks (long; results under benchmarks/results)"
	@echo "make bench-tiny  set up, then run every benchmark once at a tiny size (five minutes)"
	@echo "make pictures  set up, then make the documents' screenshots of the dashboard anew (needs Chromium)"
	@echo "make clients set up the clients that do not fit beside us, for the tests that ask with them (a minute)"
	@echo "make lock    resolve the dependencies anew into requirements*.lock (needs uv)"

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Roadworthy needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "$(PYTHON) has no venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 2; }
	@$(PYTHON) -c 'import ctypes, sys; sys.platform == "linux" and ctypes.CDLL("libgomp.so.1")' 2>/dev/null || \
		{ echo "LightGBM needs the OpenMP runtime. On Debian and Ubuntu: apt-get install libgomp1"; exit 2; }
	@echo "Setting up $(VENV) (once; a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

clients: $(CLIENTS)/.complete

$(CLIENTS)/.complete: requirements-kserve.lock
	@test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-kserve.lock
	@touch $@

demo: $(STAMP)
	@$(BIN)/python examples/demo.py

test: $(STAMP)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -q

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP)
	@$(BIN)/python benchmarks/run.py

bench-tiny: $(STAMP)
	@BENCHMARKS=all $(BIN)/python -m pytest -q -n0 tests/benchmarks/test_benchmarks_run.py

pictures: $(STAMP)
	@PICTURES_TO=docs/pictures $(BIN)/python -m pytest -q -n0 tests/web/test_every_page.py

lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group dev pyproject.toml -o requirements.lock
	echo 'kserve>=0.21' | uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header - -o requirements-kserve.lock

clean:
	rm -rf $(VENV) $(CLIENTS) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
