# make demo   sets up, builds, trains for about a minute, enhances a clip
# make test   sets up, builds, runs the tests
# make help   everything else

VENV ?= .venv
PYTHON ?= python3
# The torch to build against and test with; any later one runs the same build.
TORCH ?= torch==2.13.0
PIP_FLAGS ?= --quiet --disable-pip-version-check

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CSRC := $(wildcard csrc/*/*.h csrc/*/*.inl csrc/*/*.cpp)
LIBRARY := lite_rtse_ext/_C.abi3.so
CXX_FILES := $(CSRC) $(wildcard tests/native/*.cpp tests/native/*.h)

.DEFAULT_GOAL := help
.PHONY: help setup build demo test native lint format wheel clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(STAMP) ## a virtual environment in .venv, with torch and everything the tests and the demo need

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP_FLAGS) "$(TORCH)" "setuptools>=77" ninja
	$(BIN)/pip install $(PIP_FLAGS) --no-build-isolation --editable ".[test,demo,dev]"
	touch $@

build: $(LIBRARY) ## the compiled operators, in place

# An editable install built the library already if it is newer than the sources.
$(LIBRARY): $(CSRC) setup.py | $(STAMP)
	$(BIN)/python setup.py --quiet build_ext --inplace
	touch $@

demo: build ## train eager and fused for about a minute, enhance a clip, draw it: demo-out/
	$(BIN)/python examples/demo.py

test: build ## the test suite
	$(BIN)/python -m pytest

native: ## the kernels as a plain program: optimised, under sanitizers, and as NEON code under qemu
	$(MAKE) -C tests/native test

lint: build ## ruff, mypy, clang-format
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)

format: $(STAMP) ## let ruff and clang-format rewrite
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(CXX_FILES)

wheel: build ## dist/*.whl, for any Python >= 3.10 and torch >= 2.10
	$(BIN)/pip wheel $(PIP_FLAGS) --no-build-isolation --no-deps --wheel-dir dist .

clean: ## what was built
	rm -rf build dist $(LIBRARY) *.egg-info demo-out
	$(MAKE) -C tests/native clean
