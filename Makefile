# SPDX-License-Identifier: Apache-2.0
# The way in. The build itself is Meson's and cargo's; scripts/bootstrap brings what they need.
#
#   make            build/ambit                          make test [T=name]     all tests, or those whose name holds T
#   make run        the demonstration                    make install [PREFIX=/usr/local] [DESTDIR=]
#   make dist       dist/ambit-VERSION-linux-x86_64.tar.xz, which runs where it is unpacked
#   make interop    guests and upstream programs beside their native twins and the wasmtime CLI (needs a network the first time)
#   make format     clang-format                         make clean             removes build folders, keeps the cache
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := all
.PHONY: all run test interop install dist format clean bootstrap help

PREFIX ?= /usr/local
DESTDIR ?=
T ?=

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

interop:
	@scripts/bootstrap --tests
	@$(MAKE) all
	@scripts/peers
	@tests/interop/run $(if $(T),--only '$(T)')

install: all
	@scripts/install '$(PREFIX)' '$(DESTDIR)'

dist: all
	@scripts/dist

format:
	@scripts/format clang-format

clean:
	@rm -rf build build-test dist

help:
	@sed -n 's/^#   //p' Makefile
