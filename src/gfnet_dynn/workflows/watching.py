"""Classify frames as they come, log them, and run a command. Needs no torch and no network connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from gfnet_dynn.bulk.class_folders import ClassFolders
from gfnet_dynn.bulk.tally import Tally
from gfnet_dynn.errors import DataError, ModelChoiceError, OptionError
from gfnet_dynn.progress import Log, ignore_log
from gfnet_dynn.runtime.prediction import Answer, Prediction
from gfnet_dynn.runtime.request import ClassifyRequest
from gfnet_dynn.watch.command import Command, Condition, condition
from gfnet_dynn.watch.folder import FolderSource
from gfnet_dynn.watch.frame import Frame, FrameSource
from gfnet_dynn.watch.journal import Journal, open_journal
from gfnet_dynn.watch.notify import notify_alive, notify_ready, notify_stopping
from gfnet_dynn.watch.request import WatchRequest
from gfnet_dynn.watch.result import WatchResult
from gfnet_dynn.wording import counted
from gfnet_dynn.workflows.classification import OpenedClassifier, open_classifier

_STEP_S = 10.0  # between two signs of life while there is nothing to do


def watch(
    request: WatchRequest,
    *,
    on_answer: Callable[[Answer], None] = lambda answer: None,
    log: Log = ignore_log,
    stop: threading.Event | None = None,
    ask: Callable[[ModelChoiceError], str] | None = None,
) -> WatchResult:
    """Classify each new frame of a folder or camera, until `stop` is set or there were enough.

    Args:
        request: options.
        on_answer: called with each answer when it is in the log.
        log: receives notes: a source that is away or back, a command that failed.
        stop: ends the watch when it is set; the frame in hand is finished first.
        ask: as in `iter_classify`.

    Raises:
        BundleError: missing, damaged, of another version, or without that policy or precision.
        BusyError: another process writes the same log.
        DataError: no such folder or camera.
        EngineError: the engine cannot run the bundle.
        MissingExtraError: a camera, and PyAV is not installed.
        ModelChoiceError: no bundle is named, and no built-in model follows from --gsd or from the images.
        OptionError: a command that is not found, an unknown class, or options that do not go together.
        StorageError: the log cannot be written; the lines so far are kept.
    """
    stop = stop or threading.Event()
    if not request.camera:
        _require_outside(request)
    opened = _opened_classifier(request, log, ask)
    handler = _Handler(request, opened, on_answer, log)
    with open_journal(request) as journal, _opened_source(request, journal, log) as source:
        notify_ready()
        while not (stop.is_set() or handler.has_enough):
            began = time.monotonic()
            for frame in source.look():
                notify_alive()
                if stop.is_set() or handler.has_enough:
                    break
                handler.handle(frame, source, journal)
            journal.save_when_due()
            if not (handler.has_enough or source.has_more):
                _pause(stop, request.interval - (time.monotonic() - began if request.camera else 0))
        notify_stopping()
    return handler.result()


class _Handler:
    """Takes one frame after the other through classification, log, command and move."""

    def __init__(
        self, request: WatchRequest, opened: OpenedClassifier, on_answer: Callable[[Answer], None], log: Log
    ) -> None:
        self._request, self._opened, self._on_answer, self._log = request, opened, on_answer, log
        classes = opened.classifier.manifest.classes
        self._condition = _condition(request, opened)
        self._command = Command(request.words, request.run_timeout) if request.run else None
        self._folders = ClassFolders(request.move_to, classes) if request.move_to else None
        self._tally = Tally()
        self._commands = self._failed = 0

    @property
    def has_enough(self) -> bool:
        """Whether there were as many frames as the request wants."""
        return self._request.frames is not None and self._tally.images + self._tally.unreadable >= self._request.frames

    def handle(self, frame: Frame, source: FrameSource, journal: Journal) -> None:
        """Classify, log, act; a file that was written again meanwhile comes again later; raises StorageError."""
        wanted = self._request
        [[answer]] = self._opened.classifier.answer_batches(
            [frame.picture], policy=wanted.policy, threshold=wanted.threshold
        )
        if not source.is_current(frame):
            return
        answer = replace(answer, source=frame.source)
        made_at = journal.write(frame, answer)
        self._tally.add(answer)
        self._on_answer(answer)
        if isinstance(answer, Prediction):
            self._act(answer, made_at)

    def _act(self, prediction: Prediction, made_at: str) -> None:
        if self._command and self._condition.holds(prediction):
            self._commands += 1
            if problem := self._command.run(prediction, made_at):
                self._failed += 1
                self._log(f"error: the command for {prediction.source} ({prediction.label}) {problem}")
        if self._folders and prediction.source and prediction.source.exists():
            self._folders.copy(prediction)
            prediction.source.unlink(missing_ok=True)

    def result(self) -> WatchResult:
        """The counts so far."""
        return WatchResult(self._tally, self._request.output, self._commands, self._failed)


def _condition(request: WatchRequest, opened: OpenedClassifier) -> Condition:
    policy = opened.classifier.policy(request.policy, request.threshold)
    classes = opened.classifier.manifest.classes
    return condition(request.when, request.above, request.below, classes, has_rule=policy.unknown_rule is not None)


def _opened_classifier(
    request: WatchRequest, log: Log, ask: Callable[[ModelChoiceError], str] | None
) -> OpenedClassifier:
    """By the request's bundle, by --gsd, or by the GeoTIFFs that are in the folder."""
    is_open = request.bundle is None and request.gsd is None
    if is_open and request.camera:
        raise OptionError("which model? Name a bundle or a built-in model before the camera, or give --gsd METRES")
    wanted = ClassifyRequest(
        bundle=request.bundle,
        images=(Path(str(request.source)),),
        gsd=request.gsd,
        policy=request.policy,
        threshold=request.threshold,
        engine=request.engine,
        precision=request.precision,
        threads=request.threads,
        decode=request.decode,
    )
    try:
        return open_classifier(wanted, log=log, ask=ask)
    except DataError as error:
        if not is_open:
            raise
        raise OptionError(f"which model? {error}: name a bundle before the folder, or give --gsd METRES") from error


@contextmanager
def _opened_source(request: WatchRequest, journal: Journal, log: Log) -> Iterator[FrameSource]:
    source: FrameSource
    if request.camera:
        from gfnet_dynn.watch.camera import CameraSource

        source = CameraSource(request.camera, log)
    else:
        source = folder = FolderSource(Path(str(request.source)), request.settle, journal.seen, log)
        if journal.is_continued:
            log(f"note: continues; {counted(len(journal.seen), 'file')} known")
        elif request.existing == "skip":
            log(f"note: skips {counted(folder.skip_present(), 'file')} that are there")
        journal.begin()
    try:
        yield source
    finally:
        source.close()


def _require_outside(request: WatchRequest) -> None:
    root = Path(str(request.source))
    if not root.is_dir():
        raise DataError(f"cannot watch {root}: there is no such folder; name one, or camera, camera:N, /dev/videoN")
    if request.move_to and request.move_to.resolve().is_relative_to(root.resolve()):
        raise OptionError(f"--move-to {request.move_to} lies in {root}, which is watched: choose another folder")


def _pause(stop: threading.Event, seconds: float) -> None:
    """Wait, with signs of life, for that time or until `stop`."""
    end = time.monotonic() + seconds
    notify_alive()
    while not stop.wait(max(0.0, min(_STEP_S, end - time.monotonic()))) and time.monotonic() < end:
        notify_alive()
