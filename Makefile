# Two commands do everything: `make run` and `make test`. Logic lives in the binary and in tests.
.PHONY: run test check bench clean
SHELL := /bin/bash

run: ## Builds and starts the server with a demo producer.
	tools/need cargo cc
	cargo run --release --bin streamgauge -- serve --demo

test: ## Runs every test.
	tools/need cargo cc strace
	cargo test --workspace

check: ## What a change must pass beside the tests: format, lints, documents, licences, spelling.
	tools/need cargo cc
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	tools/optional cargo-deny cargo deny check
	tools/optional typos typos

bench: ## Measures the core, then the whole beside the controls.
	cargo bench --workspace
	cargo build --release --bin streamgauge
	tools/controls/compare.sh target/release/streamgauge

clean: ## Removes what was built, and the demo's data.
	cargo clean
	rm -rf streamgauge-data
