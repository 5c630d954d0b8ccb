# make TARGET, with options for its command in ARGS: make course ARGS="--only 02". Without make: see docs/guide.md.
# A target first sees to the environment: .venv or LIPSYNC_VENV. A stamp file makes that cost nothing the second time.
VENV := $(or $(LIPSYNC_VENV),.venv)
RUN := $(VENV)/bin/python -m
# Bytecode is compiled, and kept, when a module is first used: of the 15,000 files few ever are.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(RUN) pip --disable-pip-version-check install --no-compile
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
LOCK := $(if $(shell command -v flock),flock $(VENV).lock)
# Torch's threads wait asleep: awake, they stop each other as soon as another program wants a core.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help course test lint lab app book bench study clean install-run install-dev
help:            ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## /make \1\t/p' Makefile
course: $(VENV)/.run   ## run all notebooks in order
	@$(RUN) lipsync_utils.course --preset sample $(ARGS)
test: $(VENV)/.dev     ## everything that a push must pass, the notebooks at a small size included
	@$(RUN) pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=20 $(ARGS)
lint: $(VENV)/.dev     ## ruff over the package, the tests and the notebooks
	@$(RUN) ruff check . $(ARGS)
	@$(RUN) ruff format --check .
lab: $(VENV)/.run      ## open the notebooks in JupyterLab
	@$(RUN) jupyterlab --notebook-dir=. $(ARGS)
app: $(VENV)/.run      ## serve the web app on this machine
	@$(RUN) lipsync_utils.picker.serve $(ARGS)
book: $(VENV)/.run     ## the notebooks as a web site in docs/_site/
	@$(RUN) lipsync_utils.book $(ARGS)
bench: $(VENV)/.dev    ## the benchmark tables
	@$(RUN) pytest -q -p tests.bench_report -o python_files='bench_*.py' -o python_functions='bench_*' $(ARGS)
study: $(VENV)/.run    ## the long study: some two hours, goes on where it was; results in data/study/
	@$(RUN) lipsync_utils.evaluation.study $(ARGS)
clean:                 ## remove the environment and caches, never data/ or outputs/
	rm -rf .venv .venv.lock .pytest_cache .ruff_cache .hypothesis build *.egg-info docs/_site
	find lipsync_utils tests notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

$(VENV)/.run $(VENV)/.dev: requirements.txt requirements-face.txt requirements-dev.txt pyproject.toml
	@mkdir -p $(dir $(VENV))
	@$(LOCK) $(MAKE) --no-print-directory install$(subst .,-,$(notdir $@))
	@touch $(VENV)/.run $@
install-run install-dev:
	@test -n "$(PYTHON)" || { echo "The course needs Python 3.11, 3.12 or 3.13: install one and run this again."; exit 1; }
	@$(RUN) pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
	  { echo "On Debian and Ubuntu Python's venv is a package of its own: python3-venv"; exit 1; }
	@test "$$(uname)" != Linux || command -v nvidia-smi >/dev/null || echo "No NVIDIA GPU seen:" \
	  "if pip begins to fetch packages called nvidia-..., stop it; docs/guide.md has the small way."
	@echo "installing into $(VENV): 3 to 10 minutes and about 3 GB the first time"
	$(PIP) -r requirements.txt $(if $(filter install-dev,$@),-r requirements-dev.txt)
	$(PIP) --no-deps -r requirements-face.txt
	$(PIP) --no-deps --no-build-isolation -e .
