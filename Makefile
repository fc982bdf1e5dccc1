# Every target works from a fresh clone: what it needs is installed into .venv first, at pinned versions.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint .pins.txt

.PHONY: help demo pictures test coverage compiled lint bench clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml .pins.txt
	@echo "installing sercli into $(VENV) (some minutes the first time)"
	$(PIP) torch
	$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) --editable '.[test,lint]'
	@touch $@

demo: $(VENV)/.demo ## install, then report the emotions of the recordings in samples/
	$(BIN)/sercli predict samples --out demo.csv --html demo.html --segments demo.timeline.tsv
	@echo; echo "demo.csv, without the probabilities of each emotion:"; cut -d, -f 1-7,16- demo.csv
	@echo; echo "These are computer voices without emotion, unlike anything in the training data. The answers here"
	@echo "mean nothing. Score recordings of your own:"
	@echo; echo "    $(BIN)/sercli predict YOUR_FOLDER --out mine.html"
	@echo; echo "Now open demo.html in a browser: it shows and plays every recording."

pictures: $(VENV)/.test ## make the pictures of README and model card; needs Chromium, and RAVDESS in data/ravdess
	$(BIN)/python samples/make_pictures.py data/ravdess

test: $(VENV)/.test ## lint, types and the whole test suite
	$(MAKE) --no-print-directory --jobs 2 lint compiled
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

coverage: $(VENV)/.test ## the whole test suite again, with its coverage; fails under 96%
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal --cov --cov-report term:skip-covered

# What numba compiles for librosa, once per environment: the tests would wait half a minute for it.
compiled: $(VENV)/.test
	$(BIN)/python -c "import numpy; from sercli.audio import augment; \
	    augment.augment(numpy.zeros(2048, 'f'), 16000, augment.Augmentation(speed=1.1))"

lint: $(VENV)/.test ## style, types and the one-way imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.bench: $(VENV)/.test
	$(PIP) --editable '.[bench]'
	@touch $@

bench: $(VENV)/.bench ## measure speed side by side, on an idle machine (about 25 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks

clean: ## remove what make made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage* demo.*
