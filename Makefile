# make            what there is
# make VENV=...   another environment; PYTHON=... another interpreter

VENV ?= .venv
PYTHON ?=
WORKERS ?= 2
TESTS ?= tests
MINUTES ?= 10

RUN = $(VENV)/bin/python
# One thread for each process: the tests are many small computations.
ONE_THREAD = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup lint format test demo demo-seg demo-cls drill drill-hostile fuzz \
    clean clean-env

help:  ## say what there is
	@echo 'make TARGET [VENV=folder of the environment] [PYTHON=interpreter]'
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) \
	    | awk -F'|' '{printf "  %-14s %s\n", $$1, $$2}'

setup:  ## create the environment; does nothing where it is ready
	@python=$$(sh scripts/find_python.sh '$(VENV)' '$(PYTHON)') && \
	    "$$python" -m scripts.bootstrap --venv '$(VENV)' $(SETUP_FLAGS)

# Other targets set up first, and say nothing of it where all is ready.
lint format test demo demo-seg demo-cls drill drill-hostile fuzz: \
    SETUP_FLAGS = --quiet

lint: setup  ## check style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: setup  ## put code into the house style
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

test: lint  ## lint, then run the tests (WORKERS=2 TESTS=tests/test_geometry)
	$(ONE_THREAD) $(RUN) -m pytest -n $(WORKERS) --dist loadfile $(TESTS)

demo: setup  ## train a teacher and students on made-up images, on a CPU
	$(RUN) tools/demo.py

demo-seg: setup  ## the same with segmentors
	$(RUN) tools/demo.py --task seg

demo-cls: setup  ## the same with classifiers, on handwritten digits
	$(RUN) tools/demo.py --task cls

drill: setup  ## kill trainings and break their files for most of an hour
	$(ONE_THREAD) PYTHONPATH=. $(RUN) tests/drills/run.py
	$(ONE_THREAD) PYTHONPATH=. $(RUN) tests/drills/run_hostile.py

drill-hostile: setup  ## the part of it that is hostile and malformed input
	$(ONE_THREAD) PYTHONPATH=. $(RUN) tests/drills/run_hostile.py

fuzz: setup  ## give every reader what is almost a file of its own (MINUTES=10)
	$(ONE_THREAD) PYTHONPATH=. $(RUN) tests/drills/fuzz.py --minutes $(MINUTES)

clean:  ## remove what builds, tests and linters left behind
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache \
	    .hypothesis
	find mmtst tools tests scripts configs -name __pycache__ -type d \
	    -prune -exec rm -rf {} +

clean-env:  ## remove the environment (compiled mmcv stays in its cache)
	@test ! -e '$(VENV)' || test -f '$(VENV)/pyvenv.cfg' || \
	    { echo '$(VENV) is no virtual environment'; exit 1; }
	rm -rf '$(VENV)'
