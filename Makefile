# Two commands do everything: `make run` and `make test`. Logic lives in the binary and in tests.
.PHONY: run test check bench smoke doctor up down reset test-deploy clean
SHELL := /bin/bash
# What a build needs: SQLite and the Kafka client are compiled in.
BUILD := cargo cc c++ pkg-config libssl
# The dashboard goes into the binary; it is built when its sources are newer.
WEB := $(shell find web/src web/public web/*.* -type f 2>/dev/null)
# With PROFILES=full everything is told of everything else; other profiles are for settings of deploy/.env.
comma := ,
COMPOSE := docker compose -f deploy/compose.yaml $(if $(filter full,$(subst $(comma), ,$(PROFILES))),--env-file deploy/full.env) \
	$(if $(wildcard deploy/.env),--env-file deploy/.env) $(addprefix --profile ,$(subst $(comma), ,$(PROFILES)))
COMPOSE_ALL := docker compose -f deploy/compose.yaml --profile full --profile bulk --profile simulation --profile test

run: web/dist/index.html ## Builds and starts the server with a demo producer.
	tools/need $(BUILD)
	cargo run --release --bin streamgauge -- serve --demo

test: web/dist/index.html ## Runs every test, beside a Kafka and a Postgres of its own, and the dashboard in a browser.
	tools/need $(BUILD) strace sqlite3 curl
	tools/services run cargo test --workspace --no-fail-fast
	cargo build --bin streamgauge
	tools/need chromium || [[ "$${CI:-}" != true ]]
	cd web && npm test

web/dist/index.html: web/node_modules/.package-lock.json $(WEB)
	cd web && npm run build

web/node_modules/.package-lock.json: web/package-lock.json
	tools/need node npm
	cd web && npm ci

check: web/node_modules/.package-lock.json ## What a change must pass beside the tests: format, lints, documents, licences, spelling.
	tools/need $(BUILD)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	cd web && npm run check
	tools/optional cargo-deny cargo deny check
	tools/optional typos typos

bench: ## Measures the core, then the whole beside the controls.
	tools/need $(BUILD)
	cargo bench --workspace
	cargo build --release --bin streamgauge
	tools/controls/compare.sh target/release/streamgauge

smoke: ## Sends marked events through a running server, at URL (http://127.0.0.1:8080), and tells what did not show.
	tools/need $(BUILD)
	cargo run --release --quiet --bin streamgauge -- smoke $(if $(URL),--url $(URL))

doctor: ## Looks at everything a server needs, and says what mends it.
	tools/need $(BUILD)
	cargo run --release --quiet --bin streamgauge -- doctor $(if $(URL),--url $(URL))

up: ## Starts Streamgauge in one container, or what PROFILES names: make up PROFILES=full.
	$(COMPOSE) up -d --build --wait

down: ## Stops what `make up` or up.sh started; data stays.
	$(COMPOSE_ALL) down --remove-orphans

reset: ## Starts again without any data: containers and volumes are removed first.
	$(COMPOSE_ALL) down --remove-orphans --volumes
	$(COMPOSE) up -d --build --wait

test-deploy: ## Checks everything in deploy/ with the tools it is for; says what it leaves out and why.
	tools/need $(BUILD) curl
	cargo build --release --bin streamgauge
	tools/test-deploy

clean: ## Removes what was built, and the demo's data.
	cargo clean
	rm -rf web/dist web/node_modules web/test-output
	rm -rf streamgauge-data
