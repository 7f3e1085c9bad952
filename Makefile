# Everything that people and CI run. Needs Python (3.11 or newer) and make; the rest is installed
# into .venv at the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --no-compile
# bytecode is written for what is imported, as it is imported: of torch's it is one file in six
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test check fuzz kernels format lint types layers docs pictures wheel study audit many-groups nulls consistency bench servalcat nulls-servalcat whole-model groups-alone screen series form-factors clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

# torch goes first and from its own line: a range would draw the CUDA build on some machines
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) $$(grep '^torch==' constraints.txt)
	$(INSTALL) --constraint constraints.txt --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(INSTALL) --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed ## simulate a small crystal, refine it, compare with the truth
	$(BIN)/multicopy-refine demo --out build/demo --overwrite

# two at a time, each on one thread: threads of two processes wait for one another; in the order of
# the files, whose last are small ones, so that both end together
test: $(VENV)/.dev ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m "not alone"
	$(BIN)/python -m pytest -m alone $$(grep -rl --include='*.py' 'mark\.alone' tests)

check: lint types layers docs test ## format, lint, types, import layers, documentation, tests

kernels: kernels-Haswell kernels-Prescott ## run the solver's tests with the arithmetic of two other processors (with -j2 at once)

# `make test` has that of this processor
kernels-%: $(VENV)/.dev
	@own=$$($(BIN)/python -c "import numpy, threadpoolctl as t; print(*{i.get('architecture') for i in t.threadpool_info()})"); \
	if test "$$own" = $*; then echo "$*: the arithmetic of this processor, which is that of make test"; else \
	OMP_NUM_THREADS=1 OPENBLAS_CORETYPE=$* $(BIN)/python -m pytest -m "not slow" tests/unit/solve tests/unit/refinement; fi

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports --verbose 2>/dev/null || $(BIN)/lint-imports

docs: $(VENV)/.dev ## build the documentation, warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

pictures: $(VENV)/.dev ## make the pictures of the documentation anew (needs Chromium)
	$(BIN)/python scripts/screenshots.py

wheel: $(VENV)/.dev ## build the wheel, install it elsewhere and run it, into build/wheel
	$(BIN)/python scripts/try_wheel.py --out build/wheel

fuzz: $(VENV)/.dev ## read thousands of spoiled files, others each time
	MULTICOPY_FUZZ=$${MULTICOPY_FUZZ:-1000} $(BIN)/python -m pytest -n 2 tests/fuzz

format: $(VENV)/.dev ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

study: $(VENV)/.dev ## R factors of all shared data sets before and after, into docs/
	$(BIN)/python benchmarks/data_sets.py --out docs/data-sets.md

many-groups: $(VENV)/.dev ## time and memory of many groups, into docs/
	$(BIN)/python -W ignore benchmarks/many_groups.py --out docs/many-groups.md

nulls: $(VENV)/.dev ## what is absent and what is partial, truth by gemmi alone, into docs/
	$(BIN)/python -W ignore benchmarks/nulls.py --out docs/nulls.md

consistency: $(VENV)/.dev ## su on real data by cuts of resolution and halves, into docs/
	$(BIN)/python -W ignore benchmarks/consistency.py --out docs/consistency.md

# the other engines live in an environment of their own: they pin other versions than ours
bench: $(VENV)/.dev ## compare speed and accuracy with other engines, into docs/
	test -x build/bench-venv/bin/python || $(PYTHON) -m venv build/bench-venv
	build/bench-venv/bin/python -m pip --disable-pip-version-check --quiet install $$(grep '^torch==' constraints.txt)
	build/bench-venv/bin/python -m pip --disable-pip-version-check --quiet install -r benchmarks/peers.txt
	$(BIN)/python -W ignore benchmarks/engines.py --peers build/bench-venv/bin/python --out docs/engines.md

build/servalcat-venv/.installed:
	test -x build/servalcat-venv/bin/python || $(PYTHON) -m venv build/servalcat-venv
	build/servalcat-venv/bin/python -m pip --disable-pip-version-check --quiet install servalcat
	touch $@

servalcat: $(VENV)/.dev build/servalcat-venv/.installed ## show that Servalcat reads the groups that we write for it
	$(BIN)/python benchmarks/servalcat_groups.py --peer build/servalcat-venv/bin/python

nulls-servalcat: $(VENV)/.dev build/servalcat-venv/.installed ## what is absent, beside Servalcat, into docs/
	$(BIN)/python -W ignore benchmarks/nulls_servalcat.py --peer build/servalcat-venv/bin/python --out docs/nulls-servalcat.md

screen: $(VENV)/.dev ## 200 simulated data sets as a campaign, into docs/
	$(BIN)/python -W ignore benchmarks/campaign.py --sets 200 --out docs/screen.md

series: $(VENV)/.dev ## series of data sets with known fractions, into docs/
	$(BIN)/python -W ignore benchmarks/series.py --out docs/series.md

form-factors: $(VENV)/.dev ## fit form factors by fewer Gaussians anew
	$(BIN)/python scripts/fit_form_factors.py

clean: ## remove what make made
	rm -rf $(VENV) build

whole-model: $(VENV)/.dev build/servalcat-venv/.installed ## whole-model refinement beside Servalcat, into docs/
	$(BIN)/python -W ignore benchmarks/whole_model.py --peer build/servalcat-venv/bin/python --out docs/whole-model.md

groups-alone: $(VENV)/.dev build/servalcat-venv/.installed ## occupancies alone beside Servalcat, into docs/
	$(BIN)/python -W ignore benchmarks/groups_alone.py --peer build/servalcat-venv/bin/python --out docs/groups-alone.md

audit: $(VENV)/.dev ## su of surroundings beside those of the whole crystal, into docs/
	$(BIN)/python -W ignore benchmarks/audit.py --out docs/audit.md

everything-wrong: $(VENV)/.dev ## occupancies where coordinates and B are wrong as in life, into docs/
	$(BIN)/python -W ignore benchmarks/everything_wrong.py --out docs/everything-wrong.md
	$(BIN)/python -W ignore benchmarks/everything_wrong.py --vibrating 0.25 \
		--out docs/everything-wrong-vibrating.md
