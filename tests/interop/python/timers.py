# SPDX-License-Identifier: Apache-2.0
"""asyncio without sockets: timers, queues, groups, time-outs, cancellation, in the order that time gives them."""
import asyncio
import contextlib


async def step(n, log):
    await asyncio.sleep(n / 50)
    log.append(n)
    return n * n


async def producer(queue):
    for i in range(5):
        await queue.put(i)
        await asyncio.sleep(0.002)
    await queue.put(None)


async def main():
    log = []
    print(await asyncio.gather(*(step(n, log) for n in (3, 1, 2))), log)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(60), 0.02)
        print("not reached")
    try:
        async with asyncio.timeout(0.02):
            await asyncio.Event().wait()
    except TimeoutError:
        print("timeout")
    queue, got = asyncio.Queue(2), []
    task = asyncio.create_task(producer(queue))
    while (item := await queue.get()) is not None:
        got.append(item)
    await task
    print(got)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(60))
            group.create_task(failing())
    except* ValueError as e:
        print("group", e.exceptions)
    sleeper = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    sleeper.cancel()
    print(await asyncio.gather(sleeper, return_exceptions=True), sleeper.cancelled())
    done, pending = await asyncio.wait([asyncio.create_task(step(n, log)) for n in (5, 0)], return_when=asyncio.FIRST_COMPLETED)
    print(len(done), len(pending))
    for p in pending:
        p.cancel()
    print([await f for f in asyncio.as_completed([step(2, log), step(1, log)])])
    lock, order = asyncio.Lock(), []

    async def guarded(n):
        async with lock:
            order.append(n)
            await asyncio.sleep(0)
            order.append(n)
    await asyncio.gather(*(guarded(n) for n in range(3)))
    print(order)
    loop = asyncio.get_running_loop()
    future, called = loop.create_future(), []
    loop.call_later(0.03, called.append, 2)
    loop.call_later(0.01, called.append, 1)
    loop.call_soon(called.append, 0)
    loop.call_later(0.05, future.set_result, "done")
    print(await future, called)
    print(await asyncio.to_thread(sum, [1, 2, 3]))


async def failing():
    await asyncio.sleep(0.01)
    raise ValueError("on purpose")


asyncio.run(main())
