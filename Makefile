# What people type. Needs only `python3` (3.11 or newer) and `make`; everything else is made in .venv.
# Another Python: make PYTHON=python3.12 run

PYTHON ?= python3
PY := .venv/bin/python
PARALLEL ?= 2
INSTANCES ?= 5x10000x10

.PHONY: help install install-dev run demo test whole crash soak races scan bench check format coverage screens instances
.DEFAULT_GOAL := help

help: ## Say what can be made
	@sed -n 's/^\([a-z]*\):.*## /  make \1	/p' Makefile

install: ## Prepare .venv to run the program
	@$(call install_lock,requirements.lock)

install-dev: install
	@$(call install_lock,requirements-dev.lock)

run: install ## Start the service (settings: docs/settings.md)
	@exec $(PY) service.py run

demo: install ## Play a sample clinic with time running fast
	@exec $(PY) service.py demo

test: check ## Check, then run the tests; of long sweeps a part, another one each time
	$(PY) -m pytest -n $(PARALLEL) --sample

whole: check ## Check, then run every test with all its cases: before a release, and after a change to what a sweep looks at
	$(PY) -m pytest -n $(PARALLEL)

crash: install-dev ## Kill the service a thousand times on both databases and print what came of it (AFTERCARE_KILLS=N)
	$(PY) -m pytest -q -p no:randomly -p no:xdist tests/long_crash.py

races: install-dev ## Let staff stop a message while it is handed over, 2,000 times, and look whether a stop ever lost
	AFTERCARE_RACES=1000 $(PY) -m pytest -q -s -n 0 -p no:randomly tests/test_races.py

soak: install-dev ## Two hours of kills, faults, stops and wrong clocks by a seed (AFTERCARE_SOAK_MINUTES=N, AFTERCARE_SEED=N)
	$(PY) -m pytest -q -p no:randomly -p no:xdist tests/long_soak.py

scan: install-dev ## Open every link of 500 mails as mail scanners do, also in a browser, and guess 100,000 links
	AFTERCARE_SCAN=1 $(PY) -m pytest -q -s -n 0 -p no:randomly tests/private/test_scanner.py

check: install-dev ## Lint, formatting and types; changes nothing
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

bench: install-dev ## Measure our sending side by side with other senders, then our other figures; about five minutes
	@[ -x .bench-venv/bin/python ] || $(PYTHON) -m venv .bench-venv
	@.bench-venv/bin/python -m pip install --quiet --no-input --disable-pip-version-check --only-binary :all: --require-hashes -r bench/peers/requirements.lock
	@if command -v npm > /dev/null && command -v node > /dev/null; then \
	  mkdir -p .bench-venv/node && cp bench/peers/package.json bench/peers/package-lock.json bench/peers/*.mjs .bench-venv/node/ && \
	  npm ci --prefix .bench-venv/node --ignore-scripts --no-audit --no-fund --silent || echo 'npm could not get the parts of BullMQ: it is left out' >&2; fi
	$(PY) -m bench.sending
	$(PY) -m bench.figures

format: install-dev ## Put the code into its form
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

coverage: install-dev ## Run the tests and show branch coverage of scheduler/ and db/
	$(PY) -m coverage erase
	$(PY) -m coverage run -m pytest -q
	$(PY) -m coverage combine -q
	$(PY) -m coverage report

screens: install-dev ## Take the pictures of docs/screens again, in a real Chromium
	rm -f docs/screens/*.png docs/screens/keystrokes.txt
	AFTERCARE_SCREENS=docs/screens $(PY) -m pytest -q tests/stories

instances: install-dev ## Let 5 services share 10,000 messages on PostgreSQL, 10 rounds; then how fast 1, 2 and 3 are
	AFTERCARE_INSTANCES=$(INSTANCES) $(PY) -m pytest -q -s -n 0 -p no:randomly tests/test_instances.py

# Installs a lock unless its stamp, named after the lock's SHA-256, is there. The launcher finds its checkout by itself.
define install_lock
set -e; \
command -v $(PYTHON) > /dev/null || { echo 'Aftercare needs Python 3.11 or newer, and there is no $(PYTHON).' >&2; exit 1; }; \
stamp=$$($(PYTHON) -c 'import sys, hashlib; \
sys.version_info >= (3, 11) or sys.exit("Aftercare needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ..."); \
print(".venv/$(1)." + hashlib.sha256(open("$(1)", "rb").read()).hexdigest())'); \
if ! [ -f "$$stamp" ] || ! $(PY) -c '' 2> /dev/null; then \
  if ! $(PY) -m pip --version > /dev/null 2>&1; then \
    rm -rf .venv; \
    $(PYTHON) -m venv .venv || { rm -rf .venv; echo 'Cannot make .venv: the venv module of $(PYTHON) is missing (on Debian: apt install python3-venv).' >&2; exit 1; }; \
  fi; \
  echo 'Installing $(1) into .venv ...'; \
  $(PY) -m pip install --quiet --no-input --disable-pip-version-check --only-binary :all: --require-hashes -r $(1); \
  printf '%s\n' '#!/bin/sh' 'here=$$(dirname "$$(readlink -f "$$0")")' 'exec "$$here/python" "$$here/../../service.py" "$$@"' > .venv/bin/aftercare; \
  chmod +x .venv/bin/aftercare; \
  rm -f .venv/$(1).*; \
  touch "$$stamp"; \
fi
endef
