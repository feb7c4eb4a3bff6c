"""Queries that come at the same time, encoded and searched together."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from conjoin.server.limits import Problem
from conjoin.server.prometheus import Metrics

#: Answers a batch: a result or an exception for each, in order.
Answer = Callable[[Sequence[Any]], list[Any]]


@dataclass(eq=False)
class Batcher:
    """Collects what is asked within a few milliseconds and asks it all at once, in one thread.

    While one batch is worked on the next one gathers, so under load batches grow by themselves;
    a lone query waits at most ``wait`` seconds.

    Parameters
    ----------
    answer : what answers a batch.
    wait : seconds the first query of a batch waits for others.
    most : queries a batch.
    waiting : queries that may wait.
    """

    answer: Answer
    metrics: Metrics
    wait: float = 0.003
    most: int = 32
    waiting: int = 256
    _queue: Any = field(default=None, init=False)
    _task: Any = field(default=None, init=False)
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "answers"), init=False
    )

    def start(self) -> None:
        """Begin to collect; call from the event loop."""
        self._queue = asyncio.Queue()
        self._task = asyncio.create_task(self._collect())

    async def stop(self) -> None:
        """Answer what waits, and end."""
        if self._task is not None:
            await self._queue.put(None)
            await self._task
        self._pool.shutdown(wait=False)

    async def ask(self, query: Any, seconds: float) -> Any:
        """One query's answer.

        Raises
        ------
        Problem : too many are waiting, or the answer took longer than ``seconds``.
        """
        if self._queue.qsize() >= self.waiting:
            self.metrics.add("conjoin_busy_total")
            raise Problem("busy", "server", f"{self.waiting} queries are waiting", "ask again")
        future = asyncio.get_running_loop().create_future()
        await self._queue.put((query, future))
        self.metrics.set("conjoin_queries_waiting", self._queue.qsize())
        try:
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            raise Problem(
                "too-long", "server", f"no answer within {seconds:g} s", "ask again, or for less"
            ) from None

    async def _collect(self) -> None:
        last = False
        while not last:
            first = await self._queue.get()
            if first is None:
                return
            if not self._queue.qsize():
                await asyncio.sleep(self.wait)
            batch = [first]
            while len(batch) < self.most and not last and self._queue.qsize():
                more = self._queue.get_nowait()
                last = more is None
                batch += [] if last else [more]
            await self._work([pair for pair in batch if not pair[1].done()])

    async def _work(self, batch: list[tuple[Any, Any]]) -> None:
        self.metrics.set("conjoin_queries_waiting", self._queue.qsize())
        if not batch:
            return
        self.metrics.batch(len(batch))
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._pool, self.answer, [q for q, _ in batch])
        except Exception as error:
            found = [error] * len(batch)
        for (_, future), result in zip(batch, found, strict=True):
            if future.done():  # given up meanwhile
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
