# Custos: `make demo` and `make test` do everything; the others are for those who work on it.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SPARK := $(VENV)/.spark
# The first interpreter between 3.11 and 3.13 on the path.
FIND_PYTHON = for p in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	if $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then echo $$p; exit; fi; done

.PHONY: demo test spark check lock bench crosscheck serve catalogue

demo: $(STAMP)
	@$(BIN)/custos demo --home .custos

test: $(STAMP)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow" $(PYTEST)

spark: $(SPARK)

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP)
	@$(BIN)/python -m tests.bench

crosscheck: $(STAMP)
	@$(BIN)/python -m tests.crosscheck

catalogue: $(STAMP)
	@$(BIN)/custos features list --markdown > docs/feature-catalogue.md

serve: $(STAMP)
	@$(BIN)/custos serve

# Made from pyproject.toml alone; it holds no address of an index.
lock:
	@uv=$$(command -v uv); \
	if [ -z "$$uv" ]; then py=$$($(FIND_PYTHON)); $$py -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install -q uv && uv=$(VENV)/lock/bin/uv; fi; \
	$$uv pip compile pyproject.toml --universal --extra dev --extra redis --extra postgres --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-header -q -o requirements.lock && \
	sed -n 's/^spark = \["\(.*\)"\]/\1/p' pyproject.toml | $$uv pip compile - --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-annotate --no-header -q -o requirements-spark.lock

# The hashed lock first, then ourselves without dependencies: pip refuses -e beside hashes.
$(STAMP): requirements.lock pyproject.toml
	@py=$$($(FIND_PYTHON)); \
	if [ -z "$$py" ]; then echo "Custos needs Python 3.11, 3.12 or 3.13 on the path; set PYTHON=/path/to/python" >&2; exit 4; fi; \
	[ -x $(BIN)/python ] || $$py -m venv $(VENV) || { rm -rf $(VENV); exit 4; }; \
	echo "Installing the locked packages into $(VENV) (1.3 GB, once)"; \
	if uv=$$(command -v uv) && $$uv pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock \
	   && $$uv pip install -q --python $(BIN)/python --no-deps -e .; then :; \
	else $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock \
	   && $(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .; fi
	@touch $@

# The tests' own extra, which the demo needs not: Spark, with a lock of its own.
$(SPARK): requirements-spark.lock | $(STAMP)
	@echo "Installing Spark into $(VENV) (450 MB, once)"; \
	if uv=$$(command -v uv) && $$uv pip install -q --python $(BIN)/python --require-hashes -r requirements-spark.lock; then :; \
	else $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-spark.lock; fi
	@touch $@
