# SPDX-License-Identifier: Apache-2.0
"""Guest: runs unittest and doctest inside: passes, a failure, an error, skips, mocks, generators, contexts, threads of asyncio."""
import asyncio
import contextlib
import doctest
import functools
import io
import logging
import re
import sys
import unittest
import unittest.mock


def fibonacci(n):
    """
    >>> [fibonacci(i) for i in range(8)]
    [0, 1, 1, 2, 3, 5, 8, 13]
    >>> fibonacci(-1)
    Traceback (most recent call last):
    ValueError: negative
    """
    if n < 0:
        raise ValueError("negative")
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


class Sums(unittest.TestCase):
    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)

    def test_passes(self):
        self.assertEqual(fibonacci(10), 55)

    def test_subtests(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertLess(i, 3)

    def test_fails(self):
        self.assertEqual([1, 2, 3], [1, 2, 4], "the third")

    def test_error(self):
        raise KeyError("k")

    @unittest.skip("not today")
    def test_skipped(self):
        pass

    @unittest.expectedFailure
    def test_expected(self):
        self.assertTrue(False)

    def test_mock(self):
        with unittest.mock.patch("sys.argv", ["other"]) as argv, unittest.mock.patch.object(io, "open") as opened:
            io.open("x")
            self.assertEqual((argv, opened.call_args.args), (["other"], ("x",)))

    def test_logs(self):
        with self.assertLogs("part", "INFO") as seen:
            logging.getLogger("part").warning("value %d", 5)
        self.assertEqual(seen.output, ["WARNING:part:value 5"])


class Later(unittest.IsolatedAsyncioTestCase):
    async def test_tasks(self):
        queue = asyncio.Queue()

        async def worker(n):
            await asyncio.sleep(0)
            await queue.put(n * n)
        await asyncio.gather(*(worker(n) for n in range(5)))
        self.assertEqual(sorted(queue.get_nowait() for _ in range(5)), [0, 1, 4, 9, 16])


@functools.lru_cache(maxsize=None)
def ways(n):
    return 1 if n < 2 else ways(n - 1) + ways(n - 2)


text = io.StringIO()
result = unittest.main(argv=["tests", "-v"], exit=False, testRunner=unittest.TextTestRunner(text, verbosity=2)).result
print(re.findall(r"^(test\w+) .*\.\.\. (.*)$", text.getvalue(), re.M))
print(result.testsRun, len(result.failures), len(result.errors), len(result.skipped), len(result.expectedFailures))
print(result.failures[0][1].splitlines()[-8:])
print(doctest.testmod(), ways(80), ways.cache_info().hits)
with contextlib.redirect_stdout(io.StringIO()) as captured, contextlib.suppress(ZeroDivisionError):
    print("captured")
    1 / 0
print(repr(captured.getvalue()), sys.getrecursionlimit() > 100)
sys.exit(0 if result.wasSuccessful() else 5)
