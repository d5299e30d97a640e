# The commands of this project. Each one makes .venv by itself when it is missing or older than
# pyproject.toml, so a machine with python3 (3.11 or newer, with venv), make and git is enough.

PYTHON ?= python3
FILE ?=
JOBS ?= auto

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.up-to-date
CHECKED := dcsdk apps examples tests benchmarks docs

# Prints why $(PYTHON) cannot be used, or nothing.
python_problem = $(shell \
	if ! command -v $(PYTHON) >/dev/null 2>&1; then echo "there is no $(PYTHON) here"; \
	elif ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
		echo "$(PYTHON) is `$(PYTHON) --version 2>&1`, too old"; \
	elif ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo "$(PYTHON) has no venv module (on Debian: apt-get install python3-venv)"; \
	fi)
need_python = $(if $(python_problem),$(error dcsdk needs Python 3.11 or newer with venv: $(python_problem)))

.PHONY: help
help: ## show this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; \
		do printf '  %-12s %s\n' "$$name" "$$text"; done

.PHONY: demo
demo: $(STAMP) ## two clients, an emulated IMS network, a real file; FILE=path sends that file
	@$(PY) -m dcsdk demo $(if $(FILE),--file "$(FILE)")

.PHONY: test
test: $(STAMP) ## the whole test suite, with branch coverage
	@rm -f .coverage .coverage.*
	@$(PY) -m pytest -n $(JOBS) --cov --cov-report=
	@$(PY) -m tests.coverage_gate

.PHONY: check
check: $(STAMP) ## ruff, mypy --strict, the import rules, and the docs with warnings as errors
	@echo "ruff: lint and format"
	@$(PY) -m ruff check --quiet $(CHECKED)
	@$(PY) -m ruff format --check --quiet $(CHECKED)
	@echo "mypy --strict"
	@$(PY) -m mypy
	@echo "import rules"
	@$(PY) -m pytest -q tests/test_import_rules.py
	@$(MAKE) --no-print-directory docs

.PHONY: interop
interop: $(STAMP) ## install real peers (needs root) and test against them
	@bash tests/interop/setup.sh
	@DCSDK_INTEROP_REQUIRED=1 $(PY) -m pytest -m interop

.PHONY: bench
bench: bench-setup ## compare with other stacks; prints ratios, writes JSON, a plot and a page
	@$(PY) -m benchmarks

.PHONY: bench-setup
bench-setup: $(STAMP) ## install the stacks that make bench compares with
	@bash benchmarks/setup.sh $(PY)

.PHONY: docs
docs: $(STAMP) ## build the documentation into docs/_build/html
	@echo "docs: sphinx"
	@$(PY) -m sphinx --fail-on-warning --keep-going -q -b html docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

$(STAMP): pyproject.toml
	$(need_python)
	@$(PY) -c pass 2>/dev/null || { echo "making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "installing dcsdk and its tools into $(VENV); the first time takes about a minute"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-input --editable '.[dev]'
	@touch $(STAMP)
