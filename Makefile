# make demo   run the demonstration   make test   the whole suite; COV=--cov prints its coverage
# make lint   every static check      make bench  the cost of alerting, in pairs
# Each target sets itself up. It needs Python 3.11 or newer; `make lint` and `make format` also need Node.js with npm.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
REV ?= HEAD
COV ?=
JOBS ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Where it is set, each worker and each command of the tests would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test lint format reference bench bench-compare soak soak-stream soak-deliveries screenshots clean

demo: $(VENV)/ready
	$(BIN)/walltrack-alerts demo $(ARGS)

test: $(VENV)/ready
	$(BIN)/pytest $(JOBS) $(COV) $(ARGS)

lint: $(VENV)/ready node_modules/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/sqlfluff lint --disable-progress-bar sql
	$(BIN)/python -m alembic upgrade head --sql >$(VENV)/upgrade.sql
	$(BIN)/squawk $(VENV)/upgrade.sql
	node_modules/.bin/biome ci --error-on-warnings
	node_modules/.bin/tsc

format: $(VENV)/ready node_modules/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	node_modules/.bin/biome format --write

# docs/api.md from the comments in a migrated database, docs/commands.md from the help of the commands
reference: $(VENV)/ready
	$(BIN)/python bench/api_reference.py
	$(BIN)/python bench/command_reference.py

# Crashes under load for so many minutes: make soak ARGS="--minutes 10"
soak: $(VENV)/ready
	$(BIN)/python bench/soak.py $(ARGS)

# Writers that commit out of order, readers that are killed: make soak-stream ARGS="--events 50000"
soak-stream: $(VENV)/ready
	$(BIN)/python bench/stream_soak.py $(ARGS)

# A receiver that misbehaves, relays that are killed: make soak-deliveries ARGS="--events 10000 --crashes 2"
soak-deliveries: $(VENV)/ready
	$(BIN)/python bench/delivery_soak.py $(ARGS)

bench: $(VENV)/ready
	$(BIN)/python bench/order_path.py $(ARGS)
	$(BIN)/python bench/event_stream.py
	$(BIN)/python bench/deliveries.py
	$(BIN)/python bench/panel.py

# An order write here and in another revision, in one run: make bench-compare REV=main
bench-compare: $(VENV)/ready
	$(BIN)/python bench/compare.py $(ARGS) $(REV)

# The pictures of README, taken of a seeded run of the simulated bot
screenshots: $(VENV)/ready
	$(BIN)/python bench/screenshots.py $(ARGS)

$(VENV)/ready: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

node_modules/ready: package.json package-lock.json
	@command -v npm >/dev/null || { \
	  echo "npm is missing. make lint checks the panel's JavaScript with tools from npm: install Node.js 18 or newer with npm."; exit 1; }
	npm ci --silent --no-fund --no-audit
	touch $@

clean:
	rm -rf $(VENV) node_modules
