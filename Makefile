# Two commands do everything: `make demo` and `make test`. Both make the environment they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CLIPS ?= ../shared/clips
VIDEO ?= $(firstword $(wildcard $(CLIPS)/pool*.mp4 $(CLIPS)/*.mp4 $(CLIPS)/*.avi))

.PHONY: demo test lint format clean

demo: $(VENV)/installed
	$(BIN)/lrp3d demo --model I3D-R50-f8 $(if $(VIDEO),--video $(VIDEO)) --out out/demo

# One process per core, one thread each: many small tensors gain nothing from more.
test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto

# The type checker reads folders, not package metadata: it is shown models/ where that will be installed.
lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf build/types && mkdir -p build/types/lrp3d
	ln -s $(CURDIR)/lrp3d/* build/types/lrp3d/
	ln -s $(CURDIR)/models build/types/lrp3d/models
	MYPYPATH=build/types $(BIN)/mypy --cache-dir build/types/cache -p lrp3d

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,test,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist out *.egg-info
