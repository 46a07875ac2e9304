# SPDX-License-Identifier: Apache-2.0
# The way in. The build itself is Meson's and cargo's; scripts/bootstrap brings what they need.
#
#   make            build/ambit                          make test [T=name]     all tests, or those whose name holds T
#   make run        the demonstration                    make install [PREFIX=/usr/local] [DESTDIR=]
#   make dist       dist/ambit-VERSION-linux-x86_64.tar.gz, which runs where it is unpacked
#   make interop    guests and upstream programs beside their native twins and the wasmtime CLI (needs a network the first time)
#   make fuzz       each target FUZZ_SECONDS (1800) long  make soak              a script SOAK_RUNS (1000) times, rooms killed SOAK_KILLS (200) times: nothing is left
#   make lint       cppcheck, clang-tidy, -fanalyzer     make format[-check]    clang-format
#   make bench      the promises of docs/performance.md beside their peers (builds those the first time); BENCH='--only cold'
#   make clean      removes build folders, keeps the cache
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := all
.PHONY: all run test fuzz soak lint interop bench install dist format format-check clean bootstrap help

PREFIX ?= /usr/local
DESTDIR ?=
T ?=
BENCH ?=

all: bootstrap
	@ninja -C build --quiet
	@ln -sfn src/ambit build/ambit

bootstrap:
	@scripts/bootstrap

run: all
	@examples/demo/run

test:
	@scripts/bootstrap --tests
	@$(MAKE) all
	@tests/run $(if $(T),--only '$(T)')

fuzz:
	@scripts/bootstrap --tests
	@scripts/fuzz

soak:
	@scripts/bootstrap --tests
	@$(MAKE) all
	@AMBIT_TEST_SOAK_RUNS=$${SOAK_RUNS:-1000} tests/run --only system/counted
	@AMBIT_TEST_SOAK_RUNS=$${SOAK_RUNS:-1000} AMBIT_TEST_KILLS=$${SOAK_KILLS:-200} tests/run -j 1 --only system/rooms_killed
	@AMBIT_TEST_SOAK_RUNS=$${SOAK_RUNS:-1000} AMBIT_TEST_KILLS=$${SOAK_KILLS:-200} tests/run -j 1 --only system/proxy/rooms_are_killed
	@ninja -C build tests/unit/scrub_timing && build/tests/unit/scrub_timing $${SOAK_ROUNDS:-10000}

lint:
	@scripts/bootstrap --lint
	@$(MAKE) all
	@scripts/lint

interop:
	@scripts/bootstrap --tests
	@$(MAKE) all
	@scripts/peers
	@$(if $(findstring proxy,$(T)),:,tests/interop/run $(if $(T),--only '$(T)'))
	@tests/interop/proxy_clients.py $(if $(T),--only '$(T)')

bench: all
	@bench/prepare
	@bench/run $(BENCH)

install: all
	@scripts/install '$(PREFIX)' '$(DESTDIR)'

dist: all
	@scripts/dist

format:
	@scripts/format clang-format

format-check:
	@scripts/format clang-format --check

clean:
	@rm -rf build build-test build-asan build-fuzz dist

help:
	@sed -n 's/^#   //p' Makefile
