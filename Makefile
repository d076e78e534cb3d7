# make demo   sets up, builds, trains for about a minute, enhances a clip
# make test   sets up, builds, runs the tests
# make help   everything else

VENV ?= .venv
PYTHON ?= python3
# The torch to build against and test with; any later one runs the same build.
TORCH ?= torch==2.13.0
PIP_FLAGS ?= --quiet --disable-pip-version-check
# For `make cuda`: a torch with CUDA, the compute capabilities to build for, and what to test: on a machine without a GPU only what
# needs none, and that the CPU's operators of that build work.
CUDA_VENV ?= .venv-cuda
CUDA_TORCH ?= torch==2.14.1
CUDA_ARCHITECTURES ?= 8.0 9.0+PTX
CUDA_TESTS ?= $(addprefix tests/cuda/test_,build.py execution.py devices.py network.py) \
    $(if $(wildcard /dev/nvidiactl),tests/ops,tests/ops/test_accuracy.py)

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CSRC := $(wildcard csrc/*/*.h csrc/*/*.inl csrc/*/*.cpp)
CUDA_RUN := build/cuda/run
LIBRARY := lite_rtse_ext/_C.abi3.so
CXX_FILES := $(CSRC) $(wildcard csrc/*/*.cuh csrc/*/*.cu) $(wildcard tests/native/*.cpp tests/native/*.h) \
    $(wildcard tests/stream/*/*.cpp tests/stream/*/*.h)

.DEFAULT_GOAL := help
.PHONY: help setup build demo test native cuda gates lint format wheel clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(STAMP) ## a virtual environment in .venv, with torch and everything the tests and the demo need

# Without build isolation what has no wheel is built with what is here already: pesq with numpy and Cython.
$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP_FLAGS) "$(TORCH)" "setuptools>=77" "pybind11>=3" ninja numpy cython
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

native: ## the kernels and the engine as plain programs: optimised, under sanitizers, and as NEON code under qemu
	$(MAKE) -C tests/native test
	$(MAKE) -C tests/stream/native test

# Apart from the build for the CPU: in build/cuda, and tested from a copy, which finds this build and no other.
cuda: $(CUDA_VENV)/.installed ## the operators with CUDA kernels: built (nvcc), tested; the GPU's tests run where there is one
	FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST="$(CUDA_ARCHITECTURES)" MAX_JOBS=$${MAX_JOBS:-$$(nproc)} \
	    $(CUDA_VENV)/bin/python setup.py --quiet build --build-base build/cuda
	rm -rf $(CUDA_RUN) && mkdir -p $(CUDA_RUN)
	cp -r build/cuda/lib.*/lite_rtse_ext $(CUDA_RUN)
	tar --exclude=build --exclude=__pycache__ -cf - tests | tar -xf - -C $(CUDA_RUN)
	cd $(CUDA_RUN) && $(abspath $(CUDA_VENV))/bin/python -c 'from lite_rtse_ext import ops; assert ops.has_cuda()'
	cd $(CUDA_RUN) && $(abspath $(CUDA_VENV))/bin/python -m pytest --rootdir . -c $(CURDIR)/pyproject.toml \
	    -p no:cacheprovider $(CUDA_TESTS)

# The tools that read it come with few toolkits.
gates: build ## what nvcc made of the CUDA kernels, read: local memory, registers, widths of accesses, share of multiply-adds
	$(BIN)/pip install $(PIP_FLAGS) nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm
	$(BIN)/python -m pytest tests/cuda/test_gates.py tests/cuda/test_machine_code.py

$(CUDA_VENV)/.installed:
	$(PYTHON) -m venv $(CUDA_VENV)
	$(CUDA_VENV)/bin/pip install $(PIP_FLAGS) "$(CUDA_TORCH)" numpy soundfile soxr safetensors click matplotlib \
	    pytest hypothesis expecttest "setuptools>=77" "pybind11>=3" ninja
	touch $@

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
	rm -rf build dist lite_rtse_ext/*.so *.egg-info demo-out
	$(MAKE) -C tests/native clean
	$(MAKE) -C tests/stream/native clean
	$(MAKE) -C tests/stream/fuzz clean
