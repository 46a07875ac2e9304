# SPDX-License-Identifier: Apache-2.0
"""asyncio without sockets and threads.

CPython's own loops wake themselves through a pair of sockets, which the sandbox does not have, so `asyncio.run`
would fail before the first coroutine. This loop has timers, tasks, futures and queues; waiting is sleeping until
the next timer. What would have run on a thread runs at once, in place.
"""

import asyncio
import time


class Timers:
    """Stands where a selector would: nothing to select from, only time that passes."""

    def select(self, timeout):
        if timeout is None:
            raise RuntimeError("asyncio waits for something that cannot happen any more: nothing is scheduled, and "
                               "Ambit's sandbox has no sockets, processes or threads that could wake it")
        if timeout > 0:
            time.sleep(timeout)
        return []


class Loop(asyncio.BaseEventLoop):
    def __init__(self):
        super().__init__()
        self._selector = Timers()

    def _process_events(self, event_list):
        pass

    def _write_to_self(self):
        pass  # one thread: nobody sleeps while somebody calls call_soon_threadsafe

    def run_in_executor(self, executor, function, *args):
        self._check_closed()
        future = self.create_future()
        try:
            future.set_result(function(*args))
        except StopIteration as e:
            future.set_exception(RuntimeError(f"{function!r} raised StopIteration"))
        except Exception as e:
            future.set_exception(e)
        return future


def install():
    asyncio.unix_events._UnixDefaultEventLoopPolicy._loop_factory = Loop
    asyncio.EventLoop = Loop
