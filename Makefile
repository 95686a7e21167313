# `make test` runs everything that must pass; `make` lists what else there is.

CARGO ?= cargo
# Tests that need a GPU run on Mesa's software adapter where there is no other.
VULKAN_DRIVERS = /usr/share/vulkan/icd.d /usr/local/share/vulkan/icd.d /etc/vulkan/icd.d

# Another software adapter, which Debian has in a package of 32 MB, and which no loader finds by itself.
SWIFTSHADER = /usr/lib/chromium/vk_swiftshader_icd.json

# cargo-nextest where it is installed, else cargo's own runner; doc tests are run apart from either.
RUN_TESTS = $(CARGO) $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo nextest run || echo test) --no-fail-fast

# The program as the tests have built it.
BUILT = $(shell $(CARGO) metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/wgpu-optim

help:
	@echo 'make test     format, lints, docs and all tests (installs Mesa lavapipe if no Vulkan driver is found)'
	@echo 'make verify   every kernel against f64 on every adapter (installs SwiftShader where Debian has it)'
	@echo 'make fuzz     files that break a reader, searched for by libFuzzer: SECONDS=600 for each target'
	@echo 'make deny     licences, advisories and sources of the dependencies (installs cargo-deny)'
	@echo 'make oldest   compiles with the oldest Rust that is supported (installs it)'
	@echo 'make bench    the costs of embedding, and small problems in one dispatch'
	@echo 'make peers    benchmarks of other libraries beside this one: DEVICE=gpu for an adapter, ADAPTER=NAME for which'
	@echo 'make table    the tables of docs/benchmarks.md, from benches/results'
	@echo 'make picture  the loss curve of docs/fit.svg'

# The workspace is built once, with every feature. With fewer of them the library is linted, and steps are recorded
# with none.
test: vulkan
	$(CARGO) fmt --all --check
	rustfmt --edition 2024 --check src/rule/*.rs src/cpu/*.rs # modules that a macro declares
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	for features in '' cpu checkpoint regression; do \
		$(CARGO) clippy --package wgpu-optim --all-targets --features "$$features" -- -D warnings || exit 1; \
	done
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --package wgpu-optim --features parquet,verify --lib --examples
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --package wgpu-optim --lib
	$(RUN_TESTS) --workspace --lib --bins --tests
	$(RUN_TESTS) --package wgpu-optim --test recording
	$(CARGO) test --doc --package wgpu-optim --features parquet,verify
	$(MAKE) verify PROGRAM='"$(BUILT)"'

# Drivers that are named in the environment are the only ones.
PROGRAM = $(CARGO) run --

verify: vulkan swiftshader
	VK_ADD_DRIVER_FILES="$${VK_ADD_DRIVER_FILES:-$$(ls $(SWIFTSHADER) 2>/dev/null)}" \
		$(PROGRAM) verify --quick --adapter all

# Only on Linux: elsewhere a driver comes with the system.
vulkan:
	@if [ "$$(uname)" = Linux ] && [ -z "$$VK_DRIVER_FILES$$VK_ICD_FILENAMES" ] && ! find $(VULKAN_DRIVERS) -name '*.json' 2>/dev/null | grep -q .; then \
		if command -v apt-get >/dev/null; then \
			echo 'No Vulkan driver found: installing Mesa lavapipe'; \
			sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
			$$sudo apt-get update -qq && \
			$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
				mesa-vulkan-drivers libvulkan1 >/dev/null; \
		else \
			echo 'No Vulkan driver found, and no apt-get to install one with' >&2; exit 1; \
		fi; \
	fi

# Ubuntu has no such package, only a stub of one.
swiftshader:
	@if [ "$$(uname)" = Linux ] && [ -z "$$VK_DRIVER_FILES$$VK_ICD_FILENAMES" ] && [ ! -e $(SWIFTSHADER) ]; then \
		echo 'Installing SwiftShader'; \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		{ command -v apt-get && $$sudo apt-get update -qq && \
			$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
				chromium-common && [ -e $(SWIFTSHADER) ]; } >/dev/null || \
			echo 'No SwiftShader here: verifying without it' >&2; \
	fi

# With a nightly compiler. What is found lies in fuzz/artifacts, and what leads somewhere is kept in fuzz/corpus.
SECONDS ?= 600
FUZZ_TARGETS = $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))

fuzz:
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install cargo-fuzz --locked
	for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target && \
		$(CARGO) +nightly fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 || exit 1; \
	done

deny:
	$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install cargo-deny --locked
	$(CARGO) deny check

# Every target and feature, as Cargo.toml promises it.
OLDEST = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

oldest:
	rustup toolchain list | grep -q '^$(OLDEST)' || rustup toolchain install $(OLDEST) --profile minimal
	$(CARGO) +$(OLDEST) check --locked --workspace --all-targets --all-features
	$(CARGO) +$(OLDEST) check --locked --package wgpu-optim --lib

bench:
	$(CARGO) bench

# Python 3.10 or later.
PYTHON ?= python3
DEVICE ?= cpu
ADAPTER ?=

peers:
	$(PYTHON) -m venv target/peers
	target/peers/bin/python -m pip install --quiet --requirement benches/peers/requirements.txt
	target/peers/bin/python benches/peers/together.py --out benches/results --device $(DEVICE) $(if $(ADAPTER),--adapter '$(ADAPTER)')
	$(MAKE) table

table:
	$(PYTHON) benches/peers/table.py --goals --into docs/benchmarks.md

picture:
	$(CARGO) run --release -- fit --device cpu --plot docs/fit.svg

.PHONY: help test verify vulkan swiftshader fuzz deny oldest bench peers table picture
