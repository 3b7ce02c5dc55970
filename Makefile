# Two commands do everything: `make demo` and `make test`. Both make the environment they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CLIPS ?= ../shared/clips
VIDEO ?= $(firstword $(wildcard $(CLIPS)/pool*.mp4 $(CLIPS)/*.mp4 $(CLIPS)/*.avi))

.PHONY: demo test test-slow lint docs newer-python matrix format clean

# A trained network on a clip whose answer is known, the verdict and the picture; then a real video, if there is one
# (`make demo VIDEO=my.mp4`), with random weights.
demo: $(VENV)/installed
	$(BIN)/lrp3d demo --out out/demo
	@echo && echo "The picture is out/demo/methods.png, the page out/demo/report.html."
ifneq ($(VIDEO),)
	@echo && echo "The same steps on $(VIDEO), with a network that nobody trained: what its architecture does, not what was learned."
	$(BIN)/lrp3d demo --video "$(VIDEO)" --out out/demo-video
	@echo && echo "Your own: lrp3d explain my.mp4 --model NAME --weights FILE --out out"
endif

# One process per core, one thread each: many small tensors gain nothing from more.
test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal -m "not slow"

# Trainings, whole benchmarks and deep networks; .ci/run runs these as well.
test-slow: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal -m slow

lint: newer-python $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --cache-dir build/types -p lrp3d -p models -p benchmarks
	$(BIN)/python tests/snippets.py build/snippets
	$(BIN)/mypy --config-file= --cache-dir build/types/snippets --follow-imports silent --python-version 3.10 \
		--check-untyped-defs --allow-redefinition build/snippets

# The types of numpy and PyAV for Python 3.10 say less than is checked, and tools of the site do not run there.
NEEDS := make lint and make docs need Python 3.11 or later, and this one is older: add PYTHON=python3.12 VENV=.venv-3.12
newer-python:
	@$$(test -x $(BIN)/python && echo $(BIN)/python || echo $(PYTHON)) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(NEEDS)" >&2; exit 1; }

# The documentation as a site in build/site: the tutorial runs, and a link that leads nowhere is an error. The pages are
# laid out as in the repository, so that the links between them hold there and here.
docs: newer-python $(VENV)/docs-installed
	rm -rf build/pages && mkdir -p build/pages
	cp -R README.md CONTRIBUTING.md CHANGELOG.md CITATION.cff docs benchmarks lrp3d tests build/pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

$(VENV)/docs-installed: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,docs]'
	touch $@

# Oldest and newest dependencies on every Python from 3.10 to 3.14 that is found: each environment is made from nothing,
# the test suite runs in it, and wheel and source distribution run in empty ones. Narrower, for example:
# `make matrix PYTHONS="3.11 3.13" TORCH=2.13.0`; see noxfile.py.
PYTHONS ?=
TORCH ?=
matrix:
	$(PYTHON) -m venv build/matrix
	build/matrix/bin/python -m pip install --quiet nox uv
	PATH="$(CURDIR)/build/matrix/bin:$$PATH" build/matrix/bin/nox --envdir build/matrix/environments \
		$(if $(PYTHONS),--sessions $(PYTHONS:%=tests-%) packaging) $(if $(TORCH),-- --torch $(TORCH))

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,test,dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist out *.egg-info
