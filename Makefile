# sysmaster: build, image, tests. `make help` lists the targets.
#
# The work is done by small scripts that can be run by hand as well:
#   ports/toolchain/   setup, cross, program, dist, plain-musl, fetch-deb, size, licences, no-std
#   rootfs/            build-image
#   qemu-tests/        boot (QEMU), suite (all tests), corpus/run

ARCHES := x86_64 aarch64 armv7 riscv64
ARCH   ?= x86_64

# TARGET=<Rust's name> says the same as ARCH=.
ifdef TARGET
  override ARCH := $(subst riscv64gc,riscv64,$(firstword $(subst -, ,$(TARGET))))
endif
ifeq ($(filter $(ARCH),$(ARCHES) all),)
  $(error ARCH=$(ARCH): no such architecture; one of: $(ARCHES), and all)
endif
SELECTED := $(if $(filter all,$(ARCH)),$(ARCHES),$(ARCH))

# Debian packages are fetched once and shared by every clone of this user.
CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sysmaster
export CACHE

# What an image is made of; its parts are rebuilt when one of these changes.
SOURCES := Cargo.toml Cargo.lock $(shell find init units sysmaster ctl multicall ports rootfs \
             -type f -not -name '*.md' -not -path '*/tests/*' 2>/dev/null)
GUEST   := $(shell find qemu-tests/guest -type f 2>/dev/null)

.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo "  ARCH=x86_64|aarch64|armv7|riscv64|all, or TARGET=<Rust target>; default x86_64"

setup: ## install the Debian packages that all this needs
	@ports/toolchain/setup

build: ## compile for this machine with plain cargo (debug)
	cargo build --workspace --exclude init
	cargo build -p init --release

dist: $(SELECTED:%=dist/%/.built) ## dist/ARCH: static executables and default units, to copy into an image

dist/%/.built: $(SOURCES) | setup
	@ports/toolchain/dist $*
	@touch $@

rootfs: $(SELECTED:%=target/image/%.cpio) ## target/image/ARCH: initramfs with four daemons from Debian, and a kernel

target/image/%.cpio: dist/%/.built $(GUEST)
	@rootfs/build-image $* target/image/$* --with qemu-tests/guest

run: target/image/$(ARCH).cpio ## boot the image in QEMU, console on this terminal
	@qemu-tests/boot run $(ARCH)

test: setup ## everything CI runs: lint, host tests, all architectures, QEMU
	@qemu-tests/suite

test-all: setup ## the same, and the long ones
	@qemu-tests/suite --long

qemu-test: rootfs ## boot tests of ARCH in QEMU; SCENARIO= for some of them
	@qemu-tests/boot test $(ARCH) $(SCENARIO)

# What chaos needs: the programs with the places where they can be killed, which a debug build has.
CHAOS := cargo build -q -p init --release && cargo build -q -p multicall && cargo run -q -p qemu-tests --example chaos --

chaos: ## kill, stop, slow and upgrade our processes under load, and count who noticed; DURATION=40 (seconds) SEED=
	@$(CHAOS) --duration $(or $(DURATION),40) $(addprefix --seed ,$(SEED))

chaos-proof: ## the same without one safeguard after the other: each must be missed
	@$(CHAOS) --prove $(addprefix --seed ,$(SEED))

fuzz: ## fuzz what is read from outside, guided by coverage; NAME= of a target (default all) DURATION=60 (seconds each)
	@qemu-tests/formats/fuzz --seconds $(or $(DURATION),60) $(NAME)

corpus: ## verify the unit files of 400 Debian packages, beside systemd-analyze (fetches 110 MB once)
	@qemu-tests/corpus/run

# Fast code and panics that are caught: a profile of its own, see Cargo.toml.
SIM := cargo run --quiet --profile sim -p sim

sim: ## random worlds for the engine; SEEDS=n [SEED=first], or CASE=file to play one again
	@$(SIM) -- $(if $(CASE),$(CASE),--seeds $(or $(SEEDS),1000) --seed $(or $(SEED),1))

sim-mutants: ## faults planted in the engine, and in how many seeds the simulator finds each
	@$(SIM) --features mutants -- --mutants

lint: ## formatting, clippy, licences
	cargo fmt --all -- --check
	cargo clippy --workspace --exclude init --all-targets -- -D warnings
	cargo clippy -p init -- -D warnings
	ports/toolchain/licences

size: $(SELECTED:%=dist/%/.built) ## sizes beside their budgets
	@ports/toolchain/size $(SELECTED)

bench: dist/x86_64/.built target/image/x86_64.cpio ## boot, restart, recovery and memory beside their budgets (x86_64, counted)
	@QUIET=1 ports/toolchain/cross x86_64 build -q --locked -p engine --example cost
	@QUIET=1 ports/toolchain/cross x86_64 build -q --locked -p sysmaster --example units
	@QUIET=1 ports/toolchain/cross x86_64 build -q --locked -p units --example store_bench
	@qemu-tests/bench/run.py --dist dist/x86_64 --kernel target/image/x86_64.kernel --out target/report/bench.json \
	  --examples "$$(ports/toolchain/cross x86_64 --where)/examples"

order: dist/x86_64/.built target/image/x86_64.cpio ## what a boot executes first lies first: writes ports/toolchain/order.txt
	@rm -rf target/order && cp -a dist/x86_64 target/order
	@cp "$$(ports/toolchain/cross x86_64 --where)/multicall" target/order/usr/lib/sysmaster/sysmaster
	@qemu-tests/order.py --dist target/order --kernel target/image/x86_64.kernel

bench-peers: dist/x86_64/.built ## the same for busybox init, sysvinit, runit, finit and systemd, side by side (30 min)
	@qemu-tests/bench/peers.py --dist dist/x86_64 --out target/report/peers.json

diff: dist/x86_64/.built ## random unit trees under systemd 257 and under ours, in QEMU; SEEDS= trees from FROM=
	@qemu-tests/diff/run.py --seeds $(or $(SEEDS),40) --from $(or $(FROM),1)

clean: ## remove what was built (not the fetched packages)
	rm -rf target dist

.PHONY: help order chaos chaos-proof corpus fuzz setup build dist rootfs run test test-all qemu-test lint size bench bench-peers \
  diff clean sim sim-mutants
.DELETE_ON_ERROR:
