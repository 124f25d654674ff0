# Everything a person or a machine does with this project. Needs python3 (3.11 to 3.13, with venv), make, and the network the first time.
PYTHON ?= python3
RUN := .venv/bin/
export PYTHON
.DEFAULT_GOAL := help
.PHONY: help demo test test-fast check bench soak corpus lock clean environment servers

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 20

demo: environment ## plan the undo of a small accident from the log that ships, on Prefect's own temporary server
	$(RUN)python flows/demo.py

test: environment servers ## all tests; those with real servers start and stop their own
	$(RUN)python -m pytest $(ARGS)

test-fast: environment ## the tests that need no server, neither a database nor Prefect's; under three minutes
	$(RUN)python -m pytest -m "not live and not slow and not flow" $(ARGS)

check: environment ## format, lint, types, direction of imports
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy $(wildcard dblog_tasks flows deployments benchmarks tests)
	$(RUN)python -m pytest -q tests/test_imports.py

bench: environment ## measure against real peers, ratios only; ARGS="--megabytes 24 --pairs 3 --rows 20000" for a quick look
	$(RUN)python -m benchmarks $(ARGS)

soak: environment servers ## fuzz every parser for MINUTES=60 (prints seeds, keeps failing inputs in fuzz-failures), kill a replay KILLS=100 times, then long property tests
	$(RUN)python -m tests.fuzz.soak $(or $(MINUTES),60)
	$(RUN)python -m tests.live.kills $(or $(KILLS),100)
	DBLOG_EXAMPLES=10 $(RUN)python -m pytest -q -m "hypothesis and not live and not flow" --timeout 3600

corpus: environment servers ## make tests/corpus again on a real MariaDB
	$(RUN)python tests/corpus/make.py

lock: ## renew requirements.lock
	scripts/lock

clean: ## remove what the other targets made
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f dblog_tasks/*/_*.so

environment: ## make .venv what requirements.lock says
	@scripts/environment

servers: ## install what the tests with real servers start
	@scripts/servers
