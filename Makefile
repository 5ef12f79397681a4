# Everything runs in .venv, which is made on first use and brought up to date when setup.cfg, pyproject.toml or
# constraints.txt changes. Needed beforehand: Python 3.11 or newer with its venv module, and make.
#
#   make demo ARGS="--seed 3"                   ARGS are handed on to the command (demo, test)
#   make test PYTHON=python3.12                 PYTHON makes the virtual environment
#   make test TORCH_ARGS="--index-url ADDRESS"  TORCH_ARGS go to `pip install torch` alone: name PyTorch's CPU-only index
#                                               there to spare a Linux machine the CUDA packages (several GB)

PYTHON ?= python3
TORCH_ARGS ?=
ARGS ?=

BIN := .venv/bin
STAMP := .venv/.installed
SOURCES := agents convogym envs experiments policies tests

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types format coverage wheel clean FORCE

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## make .venv and install convogym into it, editable, with the development tools

demo: $(STAMP) ## see the whole product work once: talk, learn a policy, record, fine-tune, talk again
	$(BIN)/convogym demo $(ARGS)

test: $(STAMP) ## run the tests, two files at a time
	$(BIN)/pytest -n 2 --dist loadfile $(ARGS)

lint: $(STAMP) ## check style and format with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## rewrite the code in ruff's format, fixing what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## check the types of all packages and tests with mypy --strict
	$(BIN)/mypy

coverage: $(STAMP) ## run the tests and tell which lines they leave out
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage report

wheel: $(STAMP) ## build the source distribution and, from it, the wheel, into dist/
	rm -rf build dist
	$(BIN)/python -m build

clean: ## remove .venv, builds and caches (runs/ stays)
	rm -rf .venv build dist *.egg-info .coverage htmlcov .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment knows its own absolute path. The stamp holds it too, so that a copied or moved checkout makes its
# .venv anew instead of quietly running the code of the place it came from.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
$(STAMP): FORCE
endif

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "convogym needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1): run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo "$(PYTHON) lacks the venv module: install it (Debian and Ubuntu: the package python3-venv)" >&2; exit 1; }
	@echo "Making .venv: 1/3 the virtual environment"
	@$(PYTHON) -m venv .venv
	@echo "Making .venv: 2/3 PyTorch (the longest part, the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt $(TORCH_ARGS) torch
	@echo "Making .venv: 3/3 convogym, what it needs, and the tools to test it"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@echo "$(CURDIR)" > $(STAMP)

FORCE:
