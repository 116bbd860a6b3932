# Everything that hybridmsg needs, from a clean clone on a fresh Debian or Ubuntu machine. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed

export PYTHONDONTWRITEBYTECODE = 1

.PHONY: help check lint types imports unit fuzz ssh lab faults test demo lab-up lab-down lab-status clean

help: ## Show this.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml tests/setup.sh
	@tests/setup.sh $(VENV)
	@touch $@

check: lint types imports unit ## Lint, types, import contracts and unit tests, in under a minute.

lint: $(STAMP)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .

types: $(STAMP)
	@$(VENV)/bin/mypy

imports: $(STAMP)
	@$(VENV)/bin/lint-imports

unit: $(STAMP) ## Unit tests only.
	@$(PYTHON) -m pytest -q -n 2 tests/unit

fuzz: $(STAMP) ## The INI editor against oslo.config's own reader on 10,000 new files a property. SEED=N repeats a run.
	@seed=$(or $(SEED),$$RANDOM$$RANDOM); \
	FUZZ_EXAMPLES=$(or $(EXAMPLES),10000) $(PYTHON) -m pytest -q -n 2 --timeout 3600 --hypothesis-seed=$$seed \
	    tests/unit/test_ini_properties.py || { echo "Again, with the same files: make fuzz SEED=$$seed"; exit 1; }

ssh: $(STAMP) ## Tests against a real local sshd.
	@$(PYTHON) -m pytest -q tests/ssh

lab: $(STAMP) lab-up ## Tests on the lab's hosts.
	@HYBRIDMSG_LAB=1 tests/run.sh lab

faults: $(STAMP) lab-up ## Every fault of tests/faults on the lab's hosts, in under an hour; a table at the end. CASES=... as pytest -k.
	@$(if $(CASES),HYBRIDMSG_LAB=1 $(PYTHON) -m pytest -v --timeout 900 -k '$(CASES)' tests/faults,tests/run.sh every-fault)

test: $(STAMP) ## Everything this machine can run: check, SSH tests, lab tests.
	@tests/run.sh

demo: $(STAMP) ## The main job, shown in the lab: migrate, prove, roll back. CLEAN=1 tears the lab down afterwards.
	@PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(PYTHON) -m tests.lab.demo $(if $(CLEAN),--clean)

lab-up: $(STAMP) ## Boot the lab, or heal it.
	@$(PYTHON) -m tests.lab up

lab-down: ## Tear the lab down, and the small one of the faults: nothing of them stays.
	@python3 -m tests.lab down
	@python3 -m tests.lab --name faults down

lab-status: ## Show the lab's hosts.
	@python3 -m tests.lab status

clean: lab-down ## Tear the lab down and remove the virtual environment.
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
