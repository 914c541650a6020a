# Two commands do everything: `make demo` and `make test`. Each builds the environment it needs.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP = -m pip install --quiet --disable-pip-version-check
DEMO = runs/demo

.PHONY: demo test test-slow test-sanitize bench lint format clean

demo: .venv/ready  ## train water, evaluate it, run 2 ps of molecular dynamics with it
	@mkdir -p runs
	@.venv/bin/qiff template water > $(DEMO).toml
	@.venv/bin/qiff train $(DEMO).toml --set output=$(DEMO) --overwrite
	@.venv/bin/qiff md $(DEMO)/model.qiff bundled:water --ensemble nve --temperature 300 \
		--timestep 0.5 --steps 4000 --out $(DEMO)/nve.xyz --overwrite
	@.venv/bin/qiff report $(DEMO)

test: .venv-test/ready  ## the default test suite, compiled in little time rather than for speed
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 .venv-test/bin/pytest -n 2 -m "not slow"

test-slow: .venv-test/ready  ## every test, compiled for speed; trains fully on the data in $$QIFF_DATA
	.venv-test/bin/pytest -n 2

test-sanitize: .venv-sanitize/ready  ## the tests of the kernels, under the sanitizers of the compiler
	LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
		ASAN_OPTIONS=detect_leaks=0 .venv-sanitize/bin/pytest tests/laws/test_engines.py -m "not slow"

bench: .venv-bench/ready  ## ratios to other simulators, some minutes; FULL=1 for all of them
	.venv-bench/bin/python -m benchmarks $(if $(FULL),--full)

lint: .venv-test/ready  ## lint, format check, type check
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/pyright --pythonpath .venv-test/bin/python

format: .venv-test/ready  ## put the code into shape
	.venv-test/bin/ruff check --fix .
	.venv-test/bin/ruff format .

clean:  ## remove the environments
	rm -rf .venv .venv-test .venv-bench .venv-sanitize

SOURCES = pyproject.toml CMakeLists.txt $(wildcard src/qiff/quantum/engines/native/*.[ch]pp)

ENGINE = from qiff.quantum.engine import describe; print('engine:', describe())

.venv/ready: $(SOURCES)
	@echo "building .venv (a minute or two)"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python $(PIP) --editable .
	@.venv/bin/python -c "$(ENGINE)"
	@touch $@

.venv-test/ready: $(SOURCES)
	@echo "building .venv-test (a minute or two)"
	@$(PYTHON) -m venv .venv-test
	@.venv-test/bin/python $(PIP) --editable '.[dev]'
	@.venv-test/bin/python -c "$(ENGINE)"
	@touch $@

.venv-bench/ready: $(SOURCES)
	@echo "building .venv-bench (some minutes)"
	@$(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python $(PIP) --editable '.[bench]'
	@touch $@

.venv-sanitize/ready: $(SOURCES)
	@echo "building .venv-sanitize (some minutes)"
	@$(PYTHON) -m venv .venv-sanitize
	@.venv-sanitize/bin/python $(PIP) --config-settings=cmake.define.QIFF_SANITIZE=ON --editable '.[dev]'
	@touch $@
