# `make test` runs all checks; `make` lists all targets.

CARGO ?= cargo
# Tests that need a GPU use Mesa's software adapter if there is no other.
VULKAN_DRIVERS = /usr/share/vulkan/icd.d /usr/local/share/vulkan/icd.d /etc/vulkan/icd.d

# Another software adapter, from a Debian package of 32 MB. The Vulkan loader does not find it by itself.
SWIFTSHADER = /usr/lib/chromium/vk_swiftshader_icd.json

# cargo-nextest if it is installed, else cargo's own runner. Doc tests are run separately.
RUN_TESTS = $(CARGO) $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo nextest run || echo test) --no-fail-fast

# The program that the tests have built.
BUILT = $(shell $(CARGO) metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/wgpu-optim

help:
	@echo 'make test     format, lints, docs and all tests (installs Mesa lavapipe if no Vulkan driver is found)'
	@echo 'make verify   verify every kernel against f64 on every adapter (installs SwiftShader on Debian)'
	@echo 'make fuzz     libFuzzer on every reader of files: SECONDS=600 for each target'
	@echo 'make deny     licences, advisories and sources of the dependencies (installs cargo-deny)'
	@echo 'make wasm     compile the library for the browser'
	@echo 'make oldest   compile with the oldest supported Rust (installs it)'
	@echo 'make bench    benchmarks of embedding, and of small problems in one dispatch'
	@echo 'make peers    benchmarks against other libraries: DEVICE=gpu for an adapter, ADAPTER=NAME to select it'
	@echo 'make table    write the tables of docs/benchmarks.md from benches/results'
	@echo 'make picture  write the loss curve docs/fit.svg'

# The workspace is built once, with every feature. The library is also linted with fewer features, and the recording
# tests run without features.
test: vulkan
	$(CARGO) fmt --all --check
	rustfmt --edition 2024 --check src/rule/*.rs src/cpu/*.rs # modules that a macro declares
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	for features in '' cpu checkpoint regression files; do \
		$(CARGO) clippy --package wgpu-optim --all-targets --features "$$features" -- -D warnings || exit 1; \
	done
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --package wgpu-optim --features parquet,verify --lib --examples
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --package wgpu-optim --lib
	if $(HAS_WASM); then $(MAKE) wasm; fi
	$(RUN_TESTS) --workspace --lib --bins --tests
	$(RUN_TESTS) --package wgpu-optim --test recording
	$(CARGO) test --doc --package wgpu-optim --features parquet,verify
	$(MAKE) verify PROGRAM='"$(BUILT)"'

# If the environment names drivers, only these are used.
PROGRAM = $(CARGO) run --

verify: vulkan swiftshader
	VK_ADD_DRIVER_FILES="$${VK_ADD_DRIVER_FILES:-$$(ls $(SWIFTSHADER) 2>/dev/null)}" \
		$(PROGRAM) verify --quick --adapter all

# Only on Linux: other systems include a driver.
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

# Ubuntu has only a stub of this package.
swiftshader:
	@if [ "$$(uname)" = Linux ] && [ -z "$$VK_DRIVER_FILES$$VK_ICD_FILENAMES" ] && [ ! -e $(SWIFTSHADER) ]; then \
		echo 'Installing SwiftShader'; \
		sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
		{ command -v apt-get && $$sudo apt-get update -qq && \
			$$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
				chromium-common && [ -e $(SWIFTSHADER) ]; } >/dev/null || \
			echo 'No SwiftShader here: verifying without it' >&2; \
	fi

# Needs a nightly compiler. Failing inputs are written to fuzz/artifacts, interesting inputs to fuzz/corpus.
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

# Every target and feature, with the rust-version of Cargo.toml.
OLDEST = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

oldest:
	rustup toolchain list | grep -q '^$(OLDEST)' || rustup toolchain install $(OLDEST) --profile minimal
	$(CARGO) +$(OLDEST) check --locked --workspace --all-targets --all-features
	$(CARGO) +$(OLDEST) check --locked --package wgpu-optim --lib

# The library as a browser may use it, without files and threads, if the target is installed.
WASM = wasm32-unknown-unknown
HAS_WASM = ls "$$(rustc --print target-libdir --target $(WASM))"/libstd-* >/dev/null 2>&1

wasm:
	@$(HAS_WASM) || { echo 'The target is missing: rustup target add $(WASM)' >&2; exit 1; }
	for features in '' regression regression,verify; do \
		RUSTFLAGS='-D warnings' $(CARGO) check --package wgpu-optim --lib --target $(WASM) --features "$$features" || exit 1; \
	done

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

.PHONY: help test verify vulkan swiftshader fuzz deny oldest wasm bench peers table picture
