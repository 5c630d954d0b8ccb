# Each target is one line of Python; `make` without a target lists them. Options go in ARGS: make course ARGS="--only 02"
PYTHON ?= python3
TARGETS = course test lint lab app book bench study clean

.PHONY: help install $(TARGETS)
help $(TARGETS):
	@$(PYTHON) -m lipsync_utils.dev $@ $(ARGS)
install:
	@$(PYTHON) -m lipsync_utils.dev install --dev
