"""From uploaded images to answers: decoded beside the network, enqueued, awaited, and given up when the client goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gfnet_dynn.errors import EngineError, GFNetDynnError, ImageError
from gfnet_dynn.images.decode import decode
from gfnet_dynn.images.fit import decode_options, fit
from gfnet_dynn.service.problems import DeadlinePassedError, QueueFullError, ServiceError, problem_of
from gfnet_dynn.service.served_model import ServedModel, Wish, now
from gfnet_dynn.service.task import Ending, SeenExit, Task
from gfnet_dynn.service.uploads import Upload

Receive = Callable[[], Awaitable[Any]]
Image = npt.NDArray[np.uint8]


class ClientGoneError(ServiceError):
    """Nobody hears the answer."""

    def __init__(self) -> None:
        super().__init__(400, "client gone", "the client closed the connection before the answer")


@dataclass(slots=True)
class Answered:
    """One image of a request and what became of it: a task, or an error."""

    upload: Upload
    decode_ms: float = 0.0
    task: Task | None = None
    error: GFNetDynnError | None = None


class Answering:
    """Answers for one request."""

    def __init__(self, served: ServedModel, wish: Wish, decoders: Executor, receive: Receive) -> None:
        """`receive`: of the connection, whose body has been read: it returns when the client goes."""
        self._served, self._wish, self._decoders, self._receive = served, wish, decoders, receive
        self._arrived = now()
        self._loop = asyncio.get_running_loop()

    async def classify(self, uploads: Sequence[Upload]) -> list[Answered]:
        """All images, in their order.

        Raises:
            ServiceError: the queue is full, or the client has gone.
            OptionError, ThresholdError: the wish cannot be fulfilled.
        """
        answers = [Answered(upload) for upload in uploads]
        levels = self._served.levels_for(self._wish)
        self._counting_rejections(len(answers), lambda: self._served.scheduler.require_room(len(answers), levels))
        with self._watching() as gone:
            images = await self._decoded(answers, gone)
            await self._answer(images, [each for each in answers if each.error is None], gone)
        return answers

    async def classify_images(self, images: list[Image], answers: Sequence[Answered]) -> None:
        """Images that are decoded, uint8 [S, S, 3] each; their answers are completed; raises as `classify`."""
        with self._watching() as gone:
            await self._answer(images, answers, gone)

    async def _answer(self, images: list[Image], answers: Sequence[Answered], gone: asyncio.Task[None]) -> None:
        if not images:
            return
        done = self._loop.create_future()
        left = len(images)

        def count_down() -> None:
            nonlocal left
            left -= 1
            if not left and not done.done():
                done.set_result(None)

        tasks = self._tasks(images, lambda task: self._tell(count_down))
        self._submit(tasks)
        await _until(done, tasks, gone)
        for each, task in zip(answers, tasks, strict=True):
            each.task, each.error = task, error_of(task)

    async def events(self, upload: Upload, top: int) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """The exits of one image as they are computed, then its answer; errors before the first event are raised."""
        answered = Answered(upload)
        with self._watching() as gone:
            images = await self._decoded([answered], gone)
        if answered.error:
            raise answered.error
        queue: asyncio.Queue[SeenExit | None] = asyncio.Queue()
        tasks = self._tasks(images, lambda task: self._tell(queue.put_nowait, None))
        task = tasks[0]
        task.keeps_exits = True
        task.on_exit = lambda seen: self._tell(queue.put_nowait, seen)
        self._submit(tasks)
        return self._told(answered, task, queue, top)

    async def _told(
        self, answered: Answered, task: Task, queue: asyncio.Queue[SeenExit | None], top: int
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        try:
            while (seen := await queue.get()) is not None:
                yield "exit", self._served.describe_exit(task, seen.index, top)
        finally:
            task.is_gone = True  # where the client has gone; an answered task does not look any more
        answered.task, answered.error = task, error_of(task)
        yield ("problem", problem_of(answered.error)) if answered.error else ("answer", self.described(answered, top))

    def _tasks(self, images: list[Image], on_end: Callable[[Task], object]) -> list[Task]:
        return self._served.tasks(images, self._wish, self._arrived, on_end)

    def _tell(self, callback: Callable[..., None], *values: object) -> None:
        """Call in the thread of requests, from that of the network; nothing where the service was ended by force."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *values)

    def _submit(self, tasks: list[Task]) -> None:
        self._counting_rejections(len(tasks), lambda: self._served.scheduler.submit(tasks))

    def _counting_rejections(self, images: int, work: Callable[[], None]) -> None:
        try:
            work()
        except QueueFullError:
            self._served.figures.reject(images)
            raise

    @contextmanager
    def _watching(self) -> Iterator[asyncio.Task[None]]:
        """A task that ends when the client goes."""
        gone = asyncio.ensure_future(self._client_gone())
        try:
            yield gone
        finally:
            gone.cancel()

    async def _client_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _decoded(self, answers: Sequence[Answered], gone: asyncio.Task[None]) -> list[Image]:
        """The images that can be read; the answers of others get their error.

        One after the other, so that the images of other requests come in between. None is decoded for a client that has
        gone, or after the deadline.
        """
        images, limit_s = [], self._served.time_limit_s(self._wish)
        for each in answers:
            if gone.done():
                raise ClientGoneError
            if (waited_s := now() - self._arrived) > limit_s:
                each.error = DeadlinePassedError(limit_s, waited_s)
                continue
            image = await self._loop.run_in_executor(self._decoders, self._decode, each)
            images += [] if image is None else [image]
        return images

    def _decode(self, answered: Answered) -> Image | None:
        spec, began = self._served.manifest.input, now()
        try:
            options = decode_options(spec, self._served.decode)
            return fit(decode(answered.upload.content, spec.size - spec.pad, options), spec)
        except ImageError as error:
            answered.error = error
            return None
        finally:
            answered.decode_ms = 1e3 * (now() - began)

    def described(self, answered: Answered, top: int) -> dict[str, Any]:
        """The answer for one image as JSON values, or its problem."""
        if answered.error is not None or answered.task is None:
            error = answered.error or EngineError("it was not classified")
            return {"source": answered.upload.name, "error": problem_of(error)}
        task = answered.task
        made, promise = self._served.prediction(task, answered.upload.name)
        full = self._served.manifest.exits[-1].macs
        return {
            **made.to_dict(top),
            "macs_share": made.macs / full,
            "promise": promise,
            "lowered": task.lowered.value if task.lowered else None,
            "asked_policy": task.levels[0].policy.name,
            "times_ms": {
                "decode": round(answered.decode_ms, 3),
                "queue": round(1e3 * max(0.0, task.began - task.arrived) - answered.decode_ms, 3),
                "network": round(1e3 * (task.ended - task.began), 3),
                "total": round(1e3 * (now() - self._arrived), 3),
            },
            **({"exits": self._served.exits_of(task, top)} if self._wish.every_exit else {}),
        }


async def _until(done: asyncio.Future[None], tasks: Sequence[Task], gone: asyncio.Task[None]) -> None:
    """Wait for the answers, or for the client to go: then nothing more is computed for it."""
    try:
        await asyncio.wait({done, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if not done.done():
            for task in tasks:
                task.is_gone = True
    if not done.done():
        raise ClientGoneError


def error_of(task: Task) -> GFNetDynnError | None:
    """Why a task has no answer."""
    if task.ending is Ending.ANSWERED:
        return None
    if task.ending is Ending.LATE:
        return DeadlinePassedError(task.deadline - task.arrived, task.ended - task.arrived)
    if task.ending is Ending.GONE:
        return ClientGoneError()
    return task.error if isinstance(task.error, GFNetDynnError) else EngineError(f"the network failed: {task.error}")
