# SPDX-License-Identifier: Apache-2.0
"""curl, Node and Python as clients of `ambit serve`: the cases of tests/interop/clients.py that are quick. All of them, h2load, wrk
and bodies to 1 GiB: `make interop`."""

import os
import pathlib
import re
import sys

import ambit

CLIENTS = pathlib.Path(os.environ["AMBIT_TEST_SOURCE"]) / "tests" / "interop" / "clients.py"


def cases(only):
    result = ambit.execute([sys.executable, CLIENTS, "--small", "--only", only], timeout=170, environ={**os.environ})
    assert result.rc == 0 and re.search(r"^[1-9]\d* passed, 0 failed$", result.out, re.M), repr(result)


def test_bodies():
    cases("body of 1 MiB")  # more than any window: HTTP/2 clients that were slower than the guest once lost their streams


def test_streams():
    cases("turn by turn")


def test_trailers():
    cases("trailers")


def test_continue():
    cases("100-continue")
