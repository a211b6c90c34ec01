# Everything that a person or CI runs. Each target sets up what it needs by itself.

MODEL ?=
CASE ?=
export MODEL

.DEFAULT_GOAL := help
.PHONY: help demo test test-full e2e-kubernetes image chart coverage bench bench-micro fuzz check setup clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## mount, and let a real client load a real model through it (MODEL=org/name: from the real Hub)
	@tests/demo/run.sh

test: check ## every test: unit, mount, and the real clients' scenarios
	tests/setup.sh csi
	cargo test --workspace
	tests/setup.sh chart
	tests/chart/run.sh
	tests/setup.sh clients
	tests/clients/run.sh

test-full: check ## the same, and what is too slow for every change
	tests/setup.sh csi
	MODELS_RUNS=50000 cargo test --workspace -- --include-ignored
	tests/fuzz.sh 300
	cargo bench --manifest-path tests/bench/micro/Cargo.toml --target-dir $${CARGO_TARGET_DIR:-target} --no-run
	tests/setup.sh full
	deploy/docker/image.sh
	tests/setup.sh chart
	tests/chart/run.sh
	tests/clients/run.sh --full

e2e-kubernetes: ## the image, by the chart, in a real Kubernetes of one node, as root (CASE=part of a scenario's name)
	tests/setup.sh kubernetes
	deploy/docker/image.sh
	tests/kubernetes/run.sh $(if $(CASE),-k '$(CASE)')

image: ## a container image with static programs (IMAGE=name; PROGRAMS=dir: from programs that are built already)
	@deploy/docker/image.sh

coverage: ## which lines the tests run, as pages in target/coverage/html (COVERAGE="--lib": only these tests)
	@tests/coverage.sh $(COVERAGE)

chart: ## render the plain manifests from the chart (deploy/kubernetes)
	@tests/setup.sh chart
	@deploy/kubernetes/render.sh

comma := ,
bench: ## compare with downloads, other mounts and the plain disk (CASE=name,name: only these)
	@tests/bench/run.sh $(subst $(comma), ,$(CASE))

bench-micro: ## the block map, the database's batches and the parsers alone (CASE=part of a name)
	cargo bench --manifest-path tests/bench/micro/Cargo.toml --target-dir $${CARGO_TARGET_DIR:-target} -- $(CASE)

# Seconds for each parser.
FUZZ_SECONDS ?= 60
fuzz: ## libFuzzer on every parser of foreign input (FUZZ_SECONDS=60 for each)
	@tests/fuzz.sh $(FUZZ_SECONDS)

check: setup ## format, lints, layers and documentation
	cargo fmt --all --check
	cargo fmt --all --check --manifest-path tests/clients/rust/Cargo.toml
	cargo fmt --all --check --manifest-path tests/bench/micro/Cargo.toml
	cargo clippy --workspace --all-targets -- -D warnings
	# With the whole workspace, so that nothing is built twice with other features.
	cargo test --workspace --test layers
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

setup: ## install what a build needs and is missing
	@tests/setup.sh build

clean: ## remove everything that was built or downloaded
	cargo clean
