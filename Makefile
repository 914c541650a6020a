# Commands for developers; users run `pip install qiff`. Each command builds the environment it needs.
# The two to start with: `make demo` and `make test`.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP = -m pip install --quiet --disable-pip-version-check
DEMO = runs/demo

.PHONY: demo test test-slow test-sanitize test-threads test-wheel fuzz wheel bench lint format docs docs-serve \
	docs-structure clean

# Shapes and types of every call in qiff are checked by `make test-slow`, and by `make test TYPECHECK=1`,
# which takes half as long again; an integer is a float.
TYPECHECK ?=
HOOK = "--jaxtyping-packages=qiff,beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
PYTEST = .venv-test/bin/pytest $(if $(TYPECHECK),$(HOOK))

demo: .venv/ready  ## train water, evaluate it, run 2 ps of molecular dynamics with it
	@mkdir -p runs
	@.venv/bin/qiff template water > $(DEMO).toml
	@.venv/bin/qiff train $(DEMO).toml --set output=$(DEMO) --overwrite
	@.venv/bin/qiff md $(DEMO)/model.qiff bundled:water --ensemble nve --temperature 300 \
		--timestep 0.5 --steps 4000 --out $(DEMO)/nve.xyz --overwrite
	@.venv/bin/qiff report $(DEMO)

test: .venv-test/ready  ## the default test suite, compiled in little time rather than for speed
	OMP_NUM_THREADS=1 JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(PYTEST) -n 2 -m "not slow"

test-slow: .venv-test/ready  ## every test, compiled for speed, types checked; long trainings on $$QIFF_DATA
	.venv-test/bin/pytest $(HOOK) -n 2 --durations=25

# The kernels must be there: without them every test would be skipped.
SANITIZED = LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0 .venv-sanitize/bin/python
test-sanitize: .venv-sanitize/ready test-threads  ## the kernels, under the sanitizers of the compiler
	$(SANITIZED) -c "from qiff.quantum.engine import choose; choose('native')"
	$(SANITIZED) -m pytest tests/laws/test_engines.py tests/laws/test_mirror.py tests/test_channels.py tests/test_densities.py

test-threads: build/threads  ## handlers that several threads call at once, under the thread sanitizer
	! build/threads race 2> build/race.txt && grep "data race" build/race.txt
	build/threads

# Of each of the six targets. What is found is kept in tests/fuzz/corpus, which the tests replay.
FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 0
fuzz: .venv-test/ready  ## change files, configs and command lines at random; none may end in a traceback
	.venv-test/bin/python -m tests.fuzz --seconds $(FUZZ_SECONDS) --seed $(FUZZ_SEED)

wheel: .venv-release/ready  ## dist/: the source archive, and a wheel for every Linux with glibc 2.24
	rm -rf dist build/dist
	.venv-release/bin/python -m build --config-setting=cmake.define.QIFF_PORTABLE=ON --outdir build/dist
	.venv-release/bin/auditwheel repair --patcher none --only-plat --plat manylinux_2_24_x86_64 \
		--wheel-dir dist build/dist/*.whl
	mv build/dist/*.tar.gz dist/
	.venv-release/bin/auditwheel show dist/*.whl

# PATH holds the new environment alone: no compiler, no CMake.
test-wheel: wheel  ## install the wheel where there is no compiler, and predict with it
	rm -rf .venv-wheel
	$(PYTHON) -m venv .venv-wheel
	env -i HOME="$$HOME" PATH="$(CURDIR)/.venv-wheel/bin" .venv-wheel/bin/python $(PIP) dist/*.whl
	env -i HOME="$$HOME" PATH="$(CURDIR)/.venv-wheel/bin" .venv-wheel/bin/python -P tests/installed.py

bench: .venv-bench/ready  ## ratios to other simulators, some minutes; FULL=1 for all of them
	.venv-bench/bin/python -m benchmarks $(if $(FULL),--full)

lint: .venv-test/ready  ## lint, format check, type check
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/pyright --pythonpath .venv-test/bin/python

format: .venv-test/ready  ## fix lint and format the code
	.venv-test/bin/ruff check --fix .
	.venv-test/bin/ruff format .

docs: .venv-docs/ready  ## build the site in docs/_build/html; a warning, a broken link or a failing cell is an error
	rm -rf docs/_build
	.venv-docs/bin/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build/html

docs-serve:  ## show the site on http://localhost:8000
	$(PYTHON) -m http.server --bind localhost --directory docs/_build/html 8000

docs-structure:  ## write docs/structure.md, the list of files
	$(PYTHON) -m tests.test_structure > docs/structure.tmp
	mv docs/structure.tmp docs/structure.md

clean:  ## remove the environments
	rm -rf .venv .venv-test .venv-docs .venv-bench .venv-sanitize .venv-release .venv-wheel build docs/_build

NATIVE = src/qiff/quantum/engines/native
SOURCES = pyproject.toml CMakeLists.txt $(wildcard $(NATIVE)/*.[ch]pp)

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

.venv-docs/ready: $(SOURCES)
	@echo "building .venv-docs (a minute or two)"
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python $(PIP) --editable '.[docs]'
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

build/threads: tests/threads.cpp $(SOURCES) | .venv-sanitize/ready
	@mkdir -p build
	g++ -std=c++17 -O1 -g -fsanitize=thread -Wno-psabi -DQIFF_ISA=portable -DQIFF_BYTES=16 -I $(NATIVE) \
		-isystem "$$(echo .venv-sanitize/lib/python3*/site-packages/jaxlib/include)" \
		tests/threads.cpp $(NATIVE)/handlers.cpp $(NATIVE)/kernels.cpp \
		$(NATIVE)/product_handlers.cpp $(NATIVE)/products.cpp \
		$(NATIVE)/density_handlers.cpp $(NATIVE)/densities.cpp $(NATIVE)/orthogonal_handlers.cpp -o $@

.venv-release/ready: pyproject.toml
	@$(PYTHON) -m venv .venv-release
	@.venv-release/bin/python $(PIP) auditwheel build
	@touch $@
