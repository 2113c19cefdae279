# Everything that CI runs is a target here, and `make check` is all of it. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := $(CURDIR)/.venv
export VIRTUAL_ENV := $(VENV)
export PATH := $(VENV)/bin:$(PATH)
unexport PYTHONPATH

# `make setup`, `wheel` and `test-torch` take another torch by TORCH=2.11; build_torch.py has the list.
TORCH ?= $(shell $(PYTHON) build_torch.py)
NATIVE := Cargo.toml Cargo.lock build.rs $(shell find src cuda -type f)
# The tests of the notebooks leave them there as they ran; the documentation shows these.
EXECUTED := $(patsubst %,target/%,$(wildcard notebooks/*.ipynb))
# As many test processes as there are processors, but no more than memory allows: each takes 2 GB.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n : 4)))

.PHONY: faults mutants test-torch wheels help setup check demo test test-rust test-python sanitize bench bench-cuda runtimes wheel lint lint-rust lint-python \
	format docs notebooks clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.installed ## Make .venv, install torch, build the extension (editable).

check: ## All that CI does: setup, lint, test, docs; the seconds of each at the end.
	@+.ci/timed setup lint-rust lint-python test-rust test-python docs

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	pip install --quiet --upgrade pip
	pip install --quiet "torch==$$(python build_torch.py $(TORCH))" torchvision "maturin>=1.9,<2"
	ln -sfn "$$(python -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent)')" $(VENV)/libtorch
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml $(NATIVE)
	python build_kernels.py
	maturin develop --release --extras dev,docs --quiet
	touch $@

# Detectors whose attention is exchanged, and what they import beyond our own dependencies: 180 MB in all.
PEERS := rfdetr==1.11.2 pydeprecate==0.9.0 ultralytics==8.4.190 opencv-python-headless==5.0.0.93 \
	onedl-mmcv==2.3.6 onedl-mmengine==0.10.12 addict==2.4.0 termcolor==3.3.0

# What cannot be installed beside the dependencies: another version of one of them, or another program's requirements,
# for a process of its own.
$(VENV)/.peers: $(VENV)/.torch Makefile
	rm -rf $(VENV)/openvino-2025.4.1 $(VENV)/peers
	pip install --quiet --no-deps --target $(VENV)/openvino-2025.4.1 openvino==2025.4.1
	pip install --quiet --no-deps --target $(VENV)/peers $(PEERS)
	touch $@

$(VENV)/.bench: $(VENV)/.installed
	maturin develop --release --extras bench --quiet
	touch $@

demo: setup ## Train a small DSCT on the embedded scenes, evaluate it, write a page of annotated images.
	python examples/demo.py

test: test-rust test-python ## All tests: Rust, Python, examples in docstrings.

test-rust: setup
	cargo test --release --quiet

test-python: setup $(VENV)/.peers
	OMP_NUM_THREADS=1 python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

# The sanitizer of the pinned stable compiler, which hides it behind the switch of unstable features. Libtorch itself is
# not instrumented and keeps its caches, so leaks are looked for elsewhere.
sanitize: export RUSTC_BOOTSTRAP := 1
sanitize: export RUSTFLAGS := -Zsanitizer=address -Cdebug-assertions=on
sanitize: export ASAN_OPTIONS := detect_leaks=0
sanitize: export PROPTEST_CASES ?= 20000
sanitize: SANITIZED = cargo --config 'env.CXXFLAGS={value="$(shell sed -nE 's/^CXXFLAGS = .*value = "([^"]*)".*/\1/p' .cargo/config.toml) -fsanitize=address",force=true}' test --release --quiet --target-dir target/sanitize --target $$(rustc -vV | sed -n 's/^host: //p')
sanitize: setup ## The Rust tests under AddressSanitizer, for every instruction set.
	$(SANITIZED) --lib --tests
	DSCT_CPU=avx2 $(SANITIZED) --test random_kernel_calls
	DSCT_CPU=baseline $(SANITIZED) --test random_kernel_calls

$(EXECUTED): target/%: % $(VENV)/.installed $(shell find python -name '*.py')
	python -m pytest --quiet tests/project/test_notebooks.py -k $(basename $(notdir $@))

EXECUTE_NOTEBOOKS ?= true
docs: export NOTEBOOKS := $(if $(filter true,$(EXECUTE_NOTEBOOKS)),target/notebooks,notebooks)
docs: setup $(if $(filter true,$(EXECUTE_NOTEBOOKS)),$(EXECUTED)) ## The documentation in site/; a warning is an error. EXECUTE_NOTEBOOKS=false shows no outputs.
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet --strict
	RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --quiet
	cp -r target/doc site/rust

runtimes: setup ## The table of runtimes for exported models, up to an hour; needs the network.
	python -m tests.export.runtimes

$(VENV)/.notebooks: $(VENV)/.installed
	maturin develop --release --extras notebooks --quiet
	touch $@

notebooks: $(VENV)/.notebooks ## Open the notebooks in JupyterLab.
	jupyter lab notebooks

bench: $(VENV)/.bench ## All benchmarks on this CPU, up to an hour: results and README in tests/bench.
	python -m tests.bench

faults: setup ## End trainings by kills, full disks and lost processes, and compare what they become; a quarter of an hour.
	python -m tests.faults

# Cosmic Ray with what of its dependencies it imports here, beside the environment; cargo-mutants from its source.
$(VENV)/.mutants: $(VENV)/.installed Makefile
	pip install --quiet --no-deps --target $(VENV)/mutants cosmic-ray==8.7.0 parso==0.8.7 stevedore==5.10.0 attrs==26.1.0 \
		coverage==7.17.5
	cargo install --quiet --locked --root $(VENV)/mutants cargo-mutants@27.1.0
	touch $@

MUTANTS ?=
mutants: $(VENV)/.mutants $(VENV)/.peers ## Change one line at a time and see that a test fails; hours, goes on where it was stopped. MUTANTS="python --count 50".
	PATH=$(VENV)/mutants/bin:$$PATH PYTHONPATH=$(VENV)/mutants python -m tests.mutants $(MUTANTS)

bench-cuda: $(VENV)/.bench ## The benchmark on this machine's NVIDIA GPU.
	python -m tests.bench.bench_cuda
	python -m tests.bench.report

wheel: ## Build the wheel into dist, for another torch with TORCH=2.11; needs no .venv.
	$(PYTHON) build_wheel.py $(TORCH)

wheels: ## Build the wheels into dist that together serve every supported torch.
	$(PYTHON) build_wheel.py all

# In an environment of its own, as a user installs it. What depends on torch most: the operators, the model, its loss,
# compiled and exported programs, the exchange in other detectors, a training.
TESTS ?= tests/ops tests/model tests/criterion tests/checkpoint tests/export tests/interop tests/train
test-torch: export VIRTUAL_ENV := $(CURDIR)/target/test-torch$(TORCH)
test-torch: export PATH := $(CURDIR)/target/test-torch$(TORCH)/bin:$(PATH)
test-torch: ## Install for TORCH=2.14 (or a wheel, WHEEL=...) in an environment of its own, run the tests TESTS there.
	$(PYTHON) -m venv $(VIRTUAL_ENV)
	pip install --quiet --upgrade pip
	pip install --quiet "torch==$$(python build_torch.py $(TORCH))" torchvision
	pip install --quiet "$${WHEEL:-.}[dev]"
	OMP_NUM_THREADS=1 python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

lint: lint-rust lint-python ## Format check, clippy, ruff, mypy, stubs against the binary.

lint-rust: setup
	cargo fmt --check
	cargo clippy --release --quiet --all-targets -- -D warnings
	cargo clippy --release --quiet --features python -- -D warnings

lint-python: setup
	ruff check .
	ruff format --check .
	mypy
	python -m mypy.stubtest dsct._dsct

format: setup ## Rewrite the sources in the house format.
	cargo fmt
	ruff check --fix .
	ruff format .

clean: ## Remove caches and runs; keeps .venv and target, which take long to make.
	rm -rf runs site .pytest_cache .mypy_cache .ruff_cache .hypothesis
