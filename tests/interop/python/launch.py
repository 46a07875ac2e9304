# SPDX-License-Identifier: Apache-2.0
"""python -m MODULE args…, for interpreters that are given a file: runs the module named first as the program."""
import runpy
import sys

sys.argv[0:2] = [sys.argv[1]]
del sys.path[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
