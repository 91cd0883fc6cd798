# make demo and make test do all the set-up there is: a virtual environment with the exact set of requirements.txt.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# They choose how the environment is made, and are nothing for what runs in it.
unexport PYTHON VENV

.PHONY: help install demo study test test-slow test-gpu test-newest lint

help:
	@echo 'make demo           train, search, export and test on real images (minutes, on a CPU)'
	@echo 'make study          the study on Fashion-MNIST (hours, on a CPU); it goes on where it was stopped'
	@echo 'make test           the tests'
	@echo 'make test-slow      the slow tests, on SLURM where there is one'
	@echo 'make test-gpu       the tests that need a GPU'
	@echo 'make test-newest    the tests with the newest libraries that setup.py allows, in .venv-newest'
	@echo 'make lint           ruff'
	@echo 'make install        only the virtual environment; PYTHON=python3.12 chooses the interpreter'

install: $(VENV)/.installed

$(VENV)/.installed: requirements.txt setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not ((3, 10) <= v <= (3, 13)) and "Python 3.10 to 3.13 is needed, $(PYTHON) is %d.%d; set PYTHON=..." % v)'
	@echo 'installing into $(VENV): a few minutes, mostly for torch'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: install
	@$(BIN)/python tools/demo.py

# What has a record in work_dirs/fashion_mnist/records is not repeated.
study: install
	@$(BIN)/python tools/study.py run configs/studies/fashion_mnist/study.yaml

# Two processes with one thread each: small networks gain little from more threads, and lose much to waiting for them.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

test: install
	$(PYTEST) -m 'not slow'

test-slow: install
	$(PYTEST) -m slow

# One process: the tests share the GPU, and Triton compiles its kernels once.
test-gpu: install
	$(BIN)/python -m pytest -m gpu

# Asks for newer releases each time. PYTHON counts when the environment is made.
test-newest: VENV = .venv-newest
test-newest:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet --upgrade \
	  --upgrade-strategy eager --editable '.[demo,study,search,onnx]' pytest pytest-xdist pytest-timeout
	@$(BIN)/python -m pip list --disable-pip-version-check
	$(PYTEST) -m 'not slow'

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
