# Two commands do everything: `make demo` and `make test`. Both make the environment they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CLIPS ?= ../shared/clips
VIDEO ?= $(firstword $(wildcard $(CLIPS)/pool*.mp4 $(CLIPS)/*.mp4 $(CLIPS)/*.avi))

.PHONY: demo test lint format clean

demo: $(VENV)/installed
	$(BIN)/lrp3d demo $(if $(VIDEO),--video $(VIDEO)) --out out/demo

test: $(VENV)/installed
	$(BIN)/python -m pytest

lint: $(VENV)/installed build/types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	MYPYPATH=build/types $(BIN)/mypy -p lrp3d

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,test,dev]'
	touch $@

# The type checker reads folders, not package metadata: show it models/ where it will be installed.
build/types: $(VENV)/installed
	rm -rf $@ && mkdir -p $@/lrp3d
	ln -s $(CURDIR)/lrp3d/* $@/lrp3d/
	ln -s $(CURDIR)/models $@/lrp3d/models

clean:
	rm -rf $(VENV) build dist out *.egg-info
