# make detect [SCAN=scan.nii.gz] [OUT=results] [ARGS="--modality cta"]   landmarks of a scan, or of a built-in sample
# make test                                                              lint, types, lists and tests
# make quick                                                             the same without the tests that are slow
# make checks                                                            the same without any tests
# make format                                                            format and tidy the code
# make lists                                                             renew the file lists of the Slicer modules, and the
#                                                                        tables of sub-packages in Docs/architecture.md
# Each does its own set-up in .venv; PYTHON=python3.12 chooses the interpreter for it.

OUT ?= results
VENV := .venv
BIN := $(VENV)/bin
# The set-up is redone when the dependencies, the script or the place of the folder change.
READY := $(VENV)/ready-$(shell (pwd; cat pyproject.toml .ci/set-up) | cksum | cut -d" " -f1)

export PYTHONDONTWRITEBYTECODE := 1

.PHONY: detect test quick checks format lists
.DEFAULT_GOAL := detect

# SCAN and OUT reach the shell through the environment, so that spaces and quotes in names survive.
export SCAN OUT

detect: $(READY)
ifdef SCAN
	@$(BIN)/cowlandmarks detect "$$SCAN" --out "$$OUT" $(ARGS)
else
	@$(BIN)/cowlandmarks detect --sample --out "$$OUT" --force $(ARGS)
endif

# Two processes of one thread each: some tests compare sums to the last bit with those of a child process of one thread.
# Test files are compiled once, beside the environment and not in the folders of the modules.
test: export PYTHONDONTWRITEBYTECODE =
test: export PYTHONPYCACHEPREFIX = $(CURDIR)/$(VENV)/pycache
test: export OMP_NUM_THREADS = 1
test: checks
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

quick: override ARGS += -m "not slow"
quick: test

# Those of .pre-commit-config.yaml.
checks: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python Testing/list_module_files.py
	$(BIN)/python Testing/architecture.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lists: $(READY)
	$(BIN)/python Testing/list_module_files.py --write
	$(BIN)/python Testing/architecture.py --write

$(READY): pyproject.toml .ci/set-up
	@bash .ci/set-up $(VENV)
	@touch $@
