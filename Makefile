# make demo       sets up, builds, trains for about a minute, enhances a clip
# make test       sets up, builds, runs the tests of everyday work (minutes)
# make test-all   all that must hold before a release (most of an hour on two processors)
# make help       everything else

VENV ?= .venv
PYTHON ?= python3
# The torch to build against and test with. Any later one runs the same build.
TORCH ?= torch==2.13.0
PIP_FLAGS ?= --quiet --disable-pip-version-check --constraint constraints.txt
# How many parts of `make test-all`, or compilers of `make native`, run at a time.
JOBS ?= $(shell nproc)
# Within `make -j` the jobs are shared out by its job server. Alone, a part may use them all.
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(JOBS))
# For `make agents`. Pipecat asks for versions of soxr, soundfile and protobuf that constraints.txt excludes.
AGENTS_VENV ?= .venv-agents
# For `make cuda`: a torch with CUDA, the compute capabilities to build for, and the tests to run. Without a GPU these
# are the tests that need none, and those of the CPU's operators in that build.
CUDA_VENV ?= .venv-cuda
CUDA_TORCH ?= torch==2.14.1
CUDA_ARCHITECTURES ?= 8.0 9.0+PTX
CUDA_TESTS ?= $(addprefix tests/cuda/test_,build.py execution.py devices.py network.py) \
    $(if $(wildcard /dev/nvidiactl),tests/ops,tests/ops/test_accuracy.py)

# Hours of sound for `make endurance`: the engine; the pipe at 16 and at 44.1 kHz.
ENDURANCE ?= --hours 2 --pipe-hours 1 0.25
FUZZ_SECONDS ?= 20
# `make test-all` takes less of what only repeats. The nightly workflow takes all.
SHORTER := ENDURANCE="--hours 0.5 --pipe-hours 0.25 0.1" FUZZ_SECONDS=10 \
    $(if $(wildcard /dev/nvidiactl),,CUDA_ARCHITECTURES=9.0)

# For `make gpu`: a Python whose torch has CUDA.
GPU_PYTHON ?= python3

BIN := $(VENV)/bin
# Tests start make themselves: it must not look for the job server of this one. Tests that need threads ask for them:
# with several, the small operators of the others mostly wait for a busy processor.
PYTEST := env -u MAKEFLAGS -u MAKELEVEL OMP_NUM_THREADS=1 $(BIN)/python -m pytest
STAMP := $(VENV)/.installed
CSRC := $(wildcard csrc/*.h csrc/*.cpp csrc/*/*.h csrc/*/*.inl csrc/*/*.cpp csrc/*/*/*.h csrc/*/*/*.inl)
CUDA_RUN := build/cuda/run
LIBRARY := lite_rtse_ext/_C.abi3.so
CXX_FILES := $(CSRC) $(wildcard csrc/*/*.cuh csrc/*/*.cu csrc/*/*/*.cuh csrc/*/*/*.cu) \
    $(wildcard tests/native/*.cpp tests/native/*.h tests/native/*/*.cpp) $(wildcard tests/stream/*/*.cpp tests/stream/*/*.h) \
    $(wildcard csrc/ladspa/*.c tests/capi/*.c tests/capi/*.h examples/c/*.c)
NVCC := $(shell command -v nvcc)
CLANG := $(shell command -v clang++)
ACTIONLINT := $(shell command -v actionlint)

.DEFAULT_GOAL := help
.PHONY: help tools setup build demo test test-all agents lint docs native emulator budgets endurance fuzz capi \
    pipewire web web-check web-figures clang figures install-check cuda gpu sass-check format wheel clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 15

tools: ## Debian packages that some targets use: cross compiler, emulator, Clang, ccache, valgrind, ALSA, LADSPA, PipeWire
	.ci/tools

setup: $(STAMP) ## a virtual environment in .venv, with torch and everything the tests and the demo need

# Without build isolation, pesq (which has no wheel) is built with the numpy and Cython that are here already.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP_FLAGS) "$(TORCH)" "setuptools>=77" "numpy>=2" ninja cython
	$(BIN)/pip install $(PIP_FLAGS) --no-build-isolation --editable ".[test,demo,dev,docs]"
	touch $@

build: $(LIBRARY) ## the compiled operators, in place

# An editable install built the library already if it is newer than the sources.
$(LIBRARY): $(CSRC) setup.py | $(STAMP)
	$(BIN)/python setup.py --quiet build_ext --inplace
	touch $@

demo: build ## train eager and fused for about a minute, enhance a clip, draw it: demo-out/
	$(BIN)/python examples/demo.py

test: build ## the tests of everyday work
	$(PYTEST)

# What is checked in seconds, then the longest first, so that none is left alone at the end.
PARTS := lint docs test native emulator endurance cuda install-check clang sass-check budgets fuzz capi agents web figures
# Sound in real time needs the processors for itself.
ALONE := pipewire web-check

test-all: ## all that must hold before a release; the output of a part appears when it ends
	$(MAKE) -j$(JOBS) --output-sync=target $(PARTS) $(SHORTER)
	$(MAKE) $(ALONE)

agents: build $(AGENTS_VENV)/.installed ## Pipecat's and LiveKit's own classes and the call server, without torch
	$(AGENTS_VENV)/bin/python -m pytest --noconftest tests/integrations
	$(AGENTS_VENV)/bin/python -m pytest --noconftest tests/test_docs.py -k voice-agents

lint: build ## ruff, mypy, clang-format, import contracts, prose, workflows
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(CXX_FILES)
	$(BIN)/lint-imports
	$(BIN)/python -m tests.prose
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/zizmor --quiet --offline .github
	$(if $(ACTIONLINT),$(ACTIONLINT),@echo "actionlint is not installed: its checks are left out")

docs: build ## the documentation site, warnings are errors: build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

native: ## kernels and engine as plain programs: optimized, under sanitizers, and as NEON code under qemu
	$(MAKE) $(PARALLEL) -C tests/native test
	$(MAKE) $(PARALLEL) -C tests/stream/native test

emulator: build ## the CUDA kernels on the CPU: the emulator, its mutants, the operators on emulated kernels
	$(PYTEST) tests/simt tests/cuda

budgets: ## instructions that each kernel takes, against the recorded ones
	$(PYTEST) tests/native

endurance: build ## hours of sound through engine and pipe: flat memory, no drift, no system call; all slow tests
	$(PYTEST) --slow -m slow -q
	$(BIN)/python -m tests.stream.endurance $(ENDURANCE)
	$(MAKE) -C tests/stream/native hours HOURS=0.5 OUT=build/endurance

fuzz: build ## libFuzzer on the engine and the C functions, Atheris on weight files and feed
	$(BIN)/pip install $(PIP_FLAGS) atheris || echo "atheris has no wheel and no Clang here: its fuzzers are left out"
	$(MAKE) -C tests/stream/fuzz fuzz FUZZ_SECONDS=$(FUZZ_SECONDS)
	$(MAKE) -C tests/capi fuzz FUZZ_SECONDS=$(FUZZ_SECONDS)

capi: build ## the C library: every function and error, sanitizers, damaged weights, Streamer's output, installation, LADSPA
	$(MAKE) -C tests/capi test
	$(PYTEST) tests/capi tests/ladspa

pipewire: tools build ## the virtual microphone in a PipeWire without devices: the samples of the command line
	@command -v pw-link >/dev/null || { echo "pipewire: expected Debian's packages pipewire and pipewire-bin" >&2; exit 1; }
	$(PYTEST) tests/pipewire

# The compiler that makes WebAssembly, and the driver of the browser. Both come complete as wheels.
ZIGLANG := ziglang==0.17.1
PLAYWRIGHT := playwright==1.65.2
TYPESCRIPT := typescript@7.0.2
RNNOISE := @shiguredo/rnnoise-wasm@2025.1.5
WEB := packages/web
NPM := $(shell command -v npm)
NPM_INSTALL := npm install --silent --no-save --ignore-scripts --prefix

web: $(STAMP) ## the package for web pages: the engine as WebAssembly, and its weights, in packages/web/dist
	$(BIN)/pip install $(PIP_FLAGS) $(ZIGLANG)
	$(MAKE) -C csrc/wasm PYTHON=$(abspath $(BIN))/python
	install -D -m 644 build/wasm/lite_rtse.wasm $(WEB)/dist/lite_rtse.wasm
	$(BIN)/python $(WEB)/int16_weights.py lite_rtse_ext/models/weights/lite-rtse.safetensors \
	    $(WEB)/dist/lite-rtse.int16.safetensors

web-check: build web ## the package for web pages: its types, in Node.js, in Chromium with a microphone, the demo
	.ci/web
	$(BIN)/pip install $(PIP_FLAGS) $(PLAYWRIGHT)
	$(if $(NPM),$(NPM_INSTALL) build/tsc $(TYPESCRIPT),@echo "npm is not installed: the types of the web package are not checked")
	$(if $(NPM),build/tsc/node_modules/.bin/tsc --project $(WEB))
	$(PYTEST) tests/web

# RNNoise is there to compare with.
web-figures: build web ## time of a frame in Chromium beside RNNoise, a minute of a microphone: benchmarks/results/web.json
	.ci/web
	$(BIN)/pip install $(PIP_FLAGS) $(PLAYWRIGHT)
	$(NPM_INSTALL) build/npm $(RNNOISE)
	$(BIN)/python -m benchmarks.web

clang: build ## the package built by Clang
	$(if $(CLANG),.ci/clang,@echo "clang++ is not installed: the builds by Clang are left out")

figures: build ## complexity, a first cut of the speed, the model of the CUDA kernels
	$(BIN)/python -m benchmarks.cuda_model --device H100 --case multi_order_conv
	$(BIN)/python -m lite_rtse_ext.models.complexity
	$(BIN)/lite-rtse bench --frames 125 --rounds 3

install-check: wheel $(CUDA_VENV)/.installed ## isolated install, the wheel under a later torch, the engine without torch
	.ci/install-check $(VENV) $(CUDA_VENV) "$(TORCH)"

# Apart from the build for the CPU: in build/cuda, and tested from a copy, which finds this build and no other.
cuda: $(if $(NVCC),$(CUDA_VENV)/.installed) ## the operators with CUDA kernels: built (nvcc), tested; on a GPU where there is one
	$(if $(NVCC),.ci/cuda $(CUDA_VENV) $(CUDA_RUN) "$(CUDA_ARCHITECTURES)" $(CUDA_TESTS),\
	    @echo "nvcc is not installed: the build with CUDA kernels is left out")

# With the torch and the tools of that machine, which may have no network. Options: GPU_FLAGS=--rehearse.
gpu: ## one pass of 9 minutes on a machine with a GPU: build, tests, sanitizers, times, counters; again: what is missing
	$(GPU_PYTHON) -m benchmarks.gpu $(GPU_FLAGS)

# The tools that read machine code come with few toolkits.
sass-check: build ## what nvcc made of the CUDA kernels: local memory, registers, widths of accesses, multiply-adds
	$(BIN)/pip install $(PIP_FLAGS) nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm
	$(PYTEST) tests/cuda/test_gates.py tests/cuda/test_machine_code.py

$(AGENTS_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(AGENTS_VENV)
	$(AGENTS_VENV)/bin/pip install --quiet --disable-pip-version-check pipecat-ai==1.14.0 livekit==1.2.1 \
	    websockets==17.4 numpy soundfile soxr safetensors "click>=8.2" typing-extensions pytest
	touch $@

$(CUDA_VENV)/.installed:
	$(PYTHON) -m venv $(CUDA_VENV)
	$(CUDA_VENV)/bin/pip install $(PIP_FLAGS) "$(CUDA_TORCH)" soundfile soxr safetensors click matplotlib \
	    pytest hypothesis expecttest "setuptools>=77" "numpy>=2" ninja
	touch $@

format: $(STAMP) ## let ruff and clang-format rewrite
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(CXX_FILES)

# On Linux auditwheel names the oldest system that the wheel runs on. The libraries of torch come with the user's torch.
wheel: build ## dist/*.whl: one for every Python from 3.10 on, checked
	rm -rf dist build/wheel
	$(BIN)/pip wheel $(PIP_FLAGS) --no-build-isolation --no-deps --wheel-dir build/wheel .
	$(if $(filter Linux,$(shell uname)),PATH="$(abspath $(BIN)):$$PATH" auditwheel repair --exclude 'libtorch*' \
	    --exclude 'libc10*' --exclude 'libcu*' --wheel-dir dist build/wheel/*.whl && $(BIN)/python -m tests.wheel dist/*.whl,\
	    mkdir dist && cp build/wheel/*.whl dist)

clean: ## what was built
	rm -rf build dist lite_rtse_ext/*.so *.egg-info demo-out $(WEB)/dist
	$(MAKE) -C tests/native clean
	$(MAKE) -C tests/stream/native clean
	$(MAKE) -C tests/stream/fuzz clean
