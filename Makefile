# Two commands matter: `make run` and `make test`. Both create what they need.
#
#   make run        serve the embedded hypervisor, and print the virsh commands that reach it
#   make test       tests (with the real peers: virsh, libvirtd, ...), lint and types
#   make check      what `make test` runs, without looking for peers and dependencies first
#   make lint       ruff and mypy alone
#   make generate   rebuild remotevirt/stubs from remotevirt/protocol
#   make durability kill the daemon 500 times, and see whether anything is lost
#   make bench      load remotevirt and a libvirtd side by side
#   make abuse      many more rounds of the attacks on a running daemon that `make test` makes once
#   make fuzz       fuzz frames, codecs, dispatch and documents with atheris, SECONDS=60 each
#   make docs       the manual, into docs/_build/html
#   make clean      remove what the above made, .venv included

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TCP_PORT ?= 16509
# Where `make run` puts its sockets; by default where the daemon itself would.
RUNDIR ?=

# Tests to run, and how; for instance: make test TESTS=tests.transport JOBS=
TESTS ?= tests
JOBS ?= -j2
# Rounds of `make abuse` (20) and `make durability` (500); what `make fuzz` fuzzes (all of it), and for how long each.
ROUNDS ?=
TARGETS ?=
SECONDS ?= 60

# A daemon starts in a second if it finds its modules compiled, else in five; and tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test check lint generate durability bench abuse fuzz docs clean peers venv

help:
	@awk '!/^#/ {exit} {sub(/^# ?/, ""); print}' Makefile

venv: $(VENV)/.run-ready

# The daemon's own dependencies.
$(VENV)/.run-ready: setup.py pyproject.toml
	@tools/venv "$(PYTHON)" "$(VENV)" ''
	@touch $@

# Those, and what tests, lint, docs and benchmarks need.
$(VENV)/.dev-ready: setup.py pyproject.toml
	@tools/venv "$(PYTHON)" "$(VENV)" '[dev]'
	@touch $@ $(VENV)/.run-ready

run: $(VENV)/.run-ready
	@dir='$(RUNDIR)'; \
	: "$${dir:=$$($(BIN)/python -c 'from remotevirt.listening import runtime_folder; print(runtime_folder())')}"; \
	[ -n "$$dir" ] || exit 1; \
	exec $(BIN)/twistd --nodaemon --pidfile= remotevirt --driver test:keep \
	    --listen "unix:$$dir/remotevirt-sock" \
	    --listen-ro "unix:$$dir/remotevirt-sock-ro" \
	    --listen 'tcp:$(TCP_PORT):interface=127.0.0.1'

peers:
	@tools/peers
	@tools/libvirt-source
	@tools/guest-kernel

test: peers $(VENV)/.dev-ready
	@tools/check '$(BIN)' '$(JOBS)' $(TESTS)

check: $(VENV)/.dev-ready
	@tools/check '$(BIN)' '$(JOBS)' $(TESTS)

lint: $(VENV)/.dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

generate: $(VENV)/.dev-ready
	$(BIN)/python -m remotevirt.rpcgen generate

# ROUNDS and SEED may be others.
durability: $(VENV)/.dev-ready
	$(BIN)/python -m tests.durability --rounds '$(or $(ROUNDS),500)' --seed '$(or $(SEED),1)'
	$(BIN)/python -m tests.durability --qemu --rounds '$(or $(ROUNDS),100)' --seed '$(or $(SEED),1)'

bench: peers $(VENV)/.dev-ready
	$(BIN)/python -m benchmarks

abuse: peers $(VENV)/.dev-ready
	ABUSE_ROUNDS='$(or $(ROUNDS),20)' $(BIN)/trial tests.abuse tests.fuzz

$(VENV)/.fuzz-ready: $(VENV)/.dev-ready
	@tools/venv "$(PYTHON)" "$(VENV)" '[dev,fuzz]'
	@touch $@

fuzz: $(VENV)/.fuzz-ready
	@targets='$(TARGETS)'; \
	: "$${targets:=$$($(BIN)/python -c 'from tests.fuzz.targets import TARGETS; print(*TARGETS)')}"; \
	for target in $$targets; do $(BIN)/python -m tests.fuzz $$target $(SECONDS); done

docs: $(VENV)/.dev-ready
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html docs docs/_build/html

clean:
	rm -rf '$(VENV)' build dist remotevirt.egg-info docs/_build .mypy_cache .ruff_cache .hypothesis _trial_temp*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache
