# Every daily task is one target. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh

# Builds step back for whatever else the machine does.
CARGO := nice cargo
# With --workspace in every build, dependencies are built with one set of features, once.
BINARIES := $(or $(CARGO_TARGET_DIR),target)/debug

.PHONY: help setup build run test format lint doc bench deny machete coverage clean-local

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## Install what is missing (as root), or say the one line that does
	@./scripts/setup.sh

build: setup ## Build the binary, target/debug/altinn-events (4 to 8 minutes the first time, then seconds)
	@./scripts/build.sh

run: build ## Build, and run everything on this machine: http://localhost:5080, Ctrl-C stops it
	@exec $(BINARIES)/altinn-events dev

test: setup format lint doc ## Everything that CI runs (5 minutes; 15 from a fresh clone)
	$(CARGO) build --workspace --all-targets
	$(BINARIES)/with-local-stack $(CARGO) test --workspace

format: ## Check the format
	cargo fmt --all --check

lint: ## Check the lints
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# The readers of these pages are developers, so private items are in, and links to them work.
doc: ## Check the documentation, in target/doc
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --workspace --no-deps --document-private-items

bench: setup ## The benchmark: one table, also in target/bench/latest.json (10 minutes, and a release build the first time)
	cargo run --release -p bench

# Optional: these tools take minutes to build. What matters of them is checked by `make test` (tests/it/guard_rails.rs).
deny: ## Advisories, licences, owners of dependencies (needs: cargo install cargo-deny)
	cargo deny check

machete: ## Dependencies that nothing uses (needs: cargo install cargo-machete)
	cargo machete

coverage: setup ## Which lines the tests reach (needs: cargo install cargo-llvm-cov)
	$(CARGO) llvm-cov --workspace --html

clean-local: ## Remove the data of `make run`
	rm -rf .local
