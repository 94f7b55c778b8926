# Short names for common tasks; cargo and small scripts do the work.
export PATH := $(PATH):$(HOME)/.cargo/bin
SHELL := /bin/bash

.PHONY: help windows image unit test test-long check bench bench-join bench-metadata fuzz programs lab clean
.DEFAULT_GOAL := help

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

image: ## Install what is missing, build the default image into out/
	@tools/install image
	@tools/image

unit: ## Fast tests: no root, nothing installed but Rust, under two minutes
	@tools/not-run --allow tools/unit

test: ## Install what is missing, run the checks and the tests, boots and joins included
	@tools/install test
	@tools/not-run tools/check
	@tools/programs >/dev/null
	@tools/windows-agent target/kiln >/dev/null
	@tests/lab/mirror >/dev/null
	@tools/not-run cargo test --workspace --locked --no-fail-fast

test-long: ## Joins beside the real kubeadm, 1,000 agents at once, a boot for each platform, the node under load, arm64, tests marked as slow
	@tools/install test
	@tools/install arm64
	@tools/programs arm64 >/dev/null
	@tools/not-run cargo test -p kiln-tests --locked --no-fail-fast --test join_differential --test join_scale --test platforms_e2e -- --nocapture
	@tools/not-run cargo test -p kiln-tests --locked --no-fail-fast --test arm64_e2e --test boot --test control_plane_e2e --test flatcar_e2e --test installers_e2e --test join_e2e --test node_e2e --test node_layers_e2e --test lookalike_ubuntu --test metal_e2e --test outputs_e2e --test robust --test rootfs_e2e --test runtimes_e2e --test sysext -- --nocapture --ignored
	@tools/not-run cargo test -p kiln-tests --locked --no-fail-fast --test windows_agent --test windows_join -- --nocapture --ignored
	@tools/not-run cargo test -p kiln --locked --no-fail-fast --test base --test rootfs -- --nocapture --ignored
	@tools/not-run cargo test -p kiln --locked --test serve_scale -- --nocapture --ignored a_thousand

check: ## Format, lints, licenses, advisories: no tests
	@tools/not-run --allow tools/check

bench: ## Measure against mmdebstrap + mke2fs, tar | zstd, mksquashfs, mkfs.erofs
	@tools/install test
	@tests/bench/run

bench-join: ## Measure a join beside kubeadm's
	@tools/install test
	@tests/bench/join

bench-metadata: ## Measure how EC2's facts and node config are read, beside cloud-init
	@tools/install test
	@tests/bench/metadata

fuzz: ## Fuzz every parser of untrusted bytes, SECONDS (10) each
	@tools/install fuzz
	@tests/fuzz/run $(SECONDS)

windows: ## Build the agent for Windows into target/kiln/
	@tools/install windows
	@tools/windows-agent target/kiln

programs: ## Build kiln and the static firstboot into target/kiln/; with ARCH=arm64 also the agent for such images
	@tools/programs $(ARCH)

lab: ## Fill the local mirror of real parts
	@tests/lab/mirror

clean: ## Delete what was built here; caches under ~/.cache stay
	cargo clean
	rm -rf out
