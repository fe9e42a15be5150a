# make run: see it work.  make test: lint, types and all tests.  Both set everything up first.
.DEFAULT_GOAL := run
BIN := .venv/bin

setup: ## system packages (apt, where allowed), .venv, pinned Python packages
	@contrib/scripts/setup

run: setup ## mount, load the syscall counter, run a workload under it, show what it counted
	@contrib/scripts/demo

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## lint, types and all tests
	@contrib/scripts/setup-tests
	$(BIN)/pytest

bench: setup ## costs of a probed system call and of the virtual machine, each against a reference
	@contrib/scripts/setup-tests
	@for bench in contrib/bench/*/*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

examples: ## rebuild contrib/examples/*.bpf.o (needs clang and libbpf-dev)
	$(MAKE) -C contrib/examples

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile

.PHONY: setup run lint test bench examples help
