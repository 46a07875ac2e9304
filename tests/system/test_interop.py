# SPDX-License-Identifier: Apache-2.0
"""Our own guests give the same output under Ambit as natively. Upstream programs and the wasmtime CLI: `make interop`."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(os.environ["AMBIT_TEST_SOURCE"]) / "tests" / "interop"))

import interop  # noqa: E402  pylint: disable=wrong-import-position
from cases import QUICK  # noqa: E402  pylint: disable=wrong-import-position


def same(guest):
    cases = [c for c in QUICK if c.guest == guest and (c.output is not None or "native" in c.oracles)]
    assert cases, guest
    for case in cases:
        found, _ = interop.compare(case, ways=("native",))
        assert not found, "\n".join([case.name, *found])


def test_c_files():
    same("c:files")


def test_c_folders():
    same("c:folders")


def test_c_errors():
    same("c:errors")


def test_c_surroundings():
    same("c:surroundings")


def test_c_filter():
    same("c:filter")


def test_c_numbers():
    same("c:numbers")


def test_c_memory():
    same("c:memory")


def test_c_clocks():
    same("c:clocks")


def test_c_digests():
    same("c:digests")


def test_c_patterns():
    same("c:patterns")


def test_wat_arguments():
    same("wat:arguments")


def test_wat_instructions():
    same("wat:instructions")


def test_wat_memory_that_is_its_own():
    same("wat:ownership")


def test_wat_component():
    same("wat:component")


def test_python_data():
    same("python:data")


def test_python_numbers_and_time():
    same("python:numbers_and_time")


def test_python_folders():
    same("python:folders")


def test_python_text_and_trees():
    same("python:text_and_trees")


def test_python_tests_inside():
    same("python:tests_inside")


def test_python_program():
    same("python:program")


def test_a_difference_is_noticed():
    plain, case = interop.guest_of("c:control"), interop.Case("control", "c:control")
    assert not interop.compare(case, ["native"])[0]
    for change, part in (("DIFFERENT_OUTPUT", "standard output"), ("DIFFERENT_CODE", "exit code"), ("DIFFERENT_FILE", "out.txt")):
        found, _ = interop.compare(case, ["native"], ours=interop.own_c("control", f"-D{change}"), guest=plain)
        assert any(part in text for text in found), f"{change} was not noticed: {found}"


def test_digests_are_those_of_the_lock_files():
    programs = interop.upstream()
    assert len(programs) >= 5 and not interop.check_digests(programs), interop.check_digests(programs)
    name = next(iter(programs))
    changed = {**programs, name: {**programs[name], "digest": "sha256:" + "0" * 64}}
    assert len(interop.check_digests(changed)) == 1
