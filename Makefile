# The menu: `make help`. A target is three lines at most; what it does lives in the rooms.

PYTHON ?= python3

# Handed on only where they were given: an unset name must not hide what vitrine.toml says.
ifdef PROFILE
export VITRINE_ENGINE_PROFILE = $(PROFILE)
endif
PROFILE ?= miniature
INPUTS ?= 20000
REQUESTS ?= 100000
NOTEBOOK ?= 8888
# Three workers on two cores, since many tests wait; a short folder, since names of Unix sockets are bounded. What Python compiles is kept, or each start does it again.
pytest = env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder --basetemp=$$(mktemp -d)
ENGINE ?= $(if $(filter auto,$(PROFILE)),$(if $(shell nvidia-smi -L 2>/dev/null),gpu,cpu),$(or $(shell sed -n 's/^device = "\(.*\)"/\1/p' serve/profiles/$(PROFILE).toml 2>/dev/null),gpu))

ifdef MODEL
export VITRINE_ENGINE_MODEL = $(MODEL)
endif
ifdef HOST
export VITRINE_HOST = $(HOST)
endif
ifdef PORT
export VITRINE_PORT = $(PORT)
endif

.DEFAULT_GOAL := help
.PHONY: help setup serve quick test test-long attack drill soak clients check fix loadtest bench bench-affinity bench-ledger simulate \
        notebook dashboards dashboard-pictures docs lock

help:  ## show this menu
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 20

setup:  ## install everything into .venv (PROFILE=... chooses the engine: cpu or gpu)
	@$(PYTHON) serve/install.py $(ENGINE)

serve: setup  ## start the engine and the gateway (PROFILE=, MODEL=, HOST=, PORT=)
	@exec .venv/bin/vitrine up

quick: setup  ## run the tests that start no process (ARGS=... goes to pytest)
	@$(pytest) -n 4 -m "not process and not engine" --hypothesis-profile quick $(ARGS)

test: setup  ## run the tests but for the long ones (ARGS=... goes to pytest; ARGS="-n 0 tests/page" is one folder)
	@$(pytest) $(ARGS)

test-long: setup  ## run the long tests alone (most faults of the disk, 10,000 connections, notebooks, ...)
	@$(pytest) --long only $(ARGS)

attack: setup  ## attack a gateway of its own (INPUTS=... mutated inputs, besides the whole table)
	@.venv/bin/python -m tests.attack --inputs $(INPUTS)

drill: setup  ## break one thing after the other under load, with real engines and the shipped alerts (ARGS=--stand-in is quick)
	@.venv/bin/python -m tests.drill $(ARGS)

soak: setup  ## ask a gateway of its own REQUESTS=... good questions and watch its memory
	@.venv/bin/python -m tests.attack --soak $(REQUESTS)

clients: setup  ## try every client program that can be had and write docs/clients.md (ARGS="llm dspy" chooses; an hour)
	@.venv/bin/python -m tests.clients $(ARGS)

# Deno checks the JavaScript. What it remembers stays here, and it does not look for a newer version.
check fix: export DENO_DIR = .deno_cache
check fix: export DENO_NO_UPDATE_CHECK = 1

check: setup  ## lint, formatting and types of the Python and the JavaScript; changes nothing
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy
	@.venv/bin/deno lint -q && .venv/bin/deno fmt -q --check && .venv/bin/deno check -q gateway/web/static

fix: setup  ## mend what lint and formatting can mend by themselves, in Python and JavaScript
	@.venv/bin/ruff check -q --fix .; .venv/bin/ruff format .
	@.venv/bin/deno lint -q --fix; .venv/bin/deno fmt -q

loadtest: setup  ## ask a running server as users do (LOADTEST_KEY=..., ARGS="text --rate 2 --out report")
	@.venv/bin/vitrine loadtest run $(ARGS)

bench: setup  ## measure the gateway alone on one core (ARGS=--quick, ARGS=--peers, ...)
	@.venv/bin/python -m bench $(ARGS)

bench-affinity: setup  ## compare routing policies on two real engines (ARGS=..., minutes)
	@.venv/bin/python -m bench.affinity $(ARGS)

bench-ledger: setup  ## measure the ledger against its bars (ARGS=... chooses, minutes)
	@.venv/bin/python -m bench.ledger $(ARGS)

simulate: setup  ## what image affinity is worth up to 1,000 GPUs (ARGS="--gpus 2 8 64" is quick)
	@.venv/bin/python -m bench.simulation $(ARGS)

notebook: setup  ## open docs/examples in JupyterLab on 127.0.0.1 (NOTEBOOK= another port)
	@export JUPYTER_TOKEN=$$(.venv/bin/python -c 'import secrets; print(secrets.token_hex(24))'); echo "JupyterLab: http://127.0.0.1:$(NOTEBOOK)/lab?token=$$JUPYTER_TOKEN"; \
	exec .venv/bin/jupyter-lab --config docs/examples/jupyter_config.py --port $(NOTEBOOK) docs/examples

dashboards: setup  ## write Grafana's dashboards anew from dashboards/ and docs/runbook.md
	@.venv/bin/python -m dashboards write

dashboard-pictures: setup  ## draw every dashboard into docs/dashboards with a real Prometheus (minutes)
	@.venv/bin/python -m tests.monitoring $(ARGS)

docs: setup  ## write the tables of docs/reference anew from the code
	@.venv/bin/python -m docs.generate

lock: setup  ## make the locks anew from pyproject.toml and locks/*.in
	@sh locks/make.sh
