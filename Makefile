# Two commands do everything: `make demo` and `make test`. Each builds the environment it needs.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP = -m pip install --quiet --disable-pip-version-check
DEMO = runs/demo

.PHONY: demo test test-slow lint format clean

demo: .venv/ready  ## train water, evaluate it, run 2 ps of molecular dynamics with it
	@mkdir -p runs
	@.venv/bin/qiff template water > $(DEMO).toml
	@.venv/bin/qiff train $(DEMO).toml --set output=$(DEMO) --overwrite
	@.venv/bin/qiff md $(DEMO)/model.qiff bundled:water --ensemble nve --temperature 300 \
		--timestep 0.5 --steps 4000 --out $(DEMO)/nve.xyz --overwrite
	@.venv/bin/qiff report $(DEMO)

test: .venv-test/ready  ## the default test suite
	.venv-test/bin/pytest -n 2 -m "not slow"

test-slow: .venv-test/ready  ## full trainings on the data in $$QIFF_DATA, some minutes
	.venv-test/bin/pytest -m slow

lint: .venv-test/ready  ## lint, format check, type check
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/pyright --pythonpath .venv-test/bin/python

format: .venv-test/ready  ## put the code into shape
	.venv-test/bin/ruff check --fix .
	.venv-test/bin/ruff format .

clean:  ## remove the environments
	rm -rf .venv .venv-test

SOURCES = pyproject.toml CMakeLists.txt $(wildcard src/qiff/quantum/engines/native/*.[ch]pp)

.venv/ready: $(SOURCES)
	@echo "building .venv (a minute or two)"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python $(PIP) --editable .
	@touch $@

.venv-test/ready: $(SOURCES)
	@echo "building .venv-test (a minute or two)"
	@$(PYTHON) -m venv .venv-test
	@.venv-test/bin/python $(PIP) --editable '.[dev]'
	@touch $@
