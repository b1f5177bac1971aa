# Two commands for a fresh machine: `make demo` and `make test`. Both call `make setup` themselves.
PYTHON ?= python3
BIN := .venv/bin
CODE := features model training serving commands tests benchmarks

.PHONY: setup demo test check lint types imports docs lock bento clean

setup: .venv/ready

.venv/ready: requirements/all.lock pyproject.toml
	@if command -v uv >/dev/null; then UV=uv; \
	else $(PYTHON) -m venv build/uv && build/uv/bin/pip install --quiet uv && UV=build/uv/bin/uv; fi && \
	$$UV venv --quiet --allow-existing --python $(PYTHON) .venv && \
	$$UV pip sync --quiet --compile-bytecode --python $(BIN)/python requirements/all.lock && \
	$$UV pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup
	@ONCE=$(ONCE) $(BIN)/python -m commands.demo

test: setup check
	$(BIN)/pytest -n 2 --dist loadfile

check: setup lint types imports

lint:
	$(BIN)/ruff format --check --quiet $(CODE)
	$(BIN)/ruff check --quiet $(CODE)

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

docs: setup
	$(BIN)/python -m features.docs > docs/features.md
	$(BIN)/python -m serving.docs > docs/answer.md

lock:
	for use in serve train; do uv pip compile pyproject.toml --extra $$use --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet -o requirements/$$use.lock; done
	uv pip compile pyproject.toml --extra serve --extra train --extra spark --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet -o requirements/all.lock

bento: setup
	$(BIN)/clv bundle build/bundle
	BENTOML_DO_NOT_TRACK=True $(BIN)/bentoml build

clean:
	rm -rf .venv .clv build dist
