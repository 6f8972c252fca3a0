"""The file of answers: complete under its name, or continued after an interruption from the folder beside it."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from gfnet_dynn.bulk.lines import LineFormat
from gfnet_dynn.bulk.tally import Tally
from gfnet_dynn.errors import GFNetDynnError, StorageError
from gfnet_dynn.progress import Log
from gfnet_dynn.runtime.prediction import Answer, Unreadable
from gfnet_dynn.system.storage import make_folder, move_into_place, one_at_a_time, require_writable, write_json
from gfnet_dynn.system.structured import structured_file
from gfnet_dynn.wording import counted

_ROWS, _STATE = "rows", "state.json"
_INTERVAL_S = 1.0  # between two states on disk: at most so much work is done again


@dataclass
class RunState:
    """What is on disk of an interrupted run.

    Attributes:
        made_with: settings that decide what is written, by name.
        names: files answered so far, unreadable ones included.
        names_digest: SHA-256, chained over their names in order.
        length: bytes of the rows that hold these answers.
        tally: of these answers.
    """

    made_with: dict[str, str]
    names: int = 0
    names_digest: str = ""
    length: int = 0
    tally: Tally = field(default_factory=Tally)

    def count(self, source: Path | Unreadable | None) -> None:
        """Take one more name into account."""
        name = source.source if isinstance(source, Unreadable) else source
        self.names_digest = hashlib.sha256(self.names_digest.encode() + os.fsencode(str(name))).hexdigest()
        self.names += 1


class AnswerFile:
    """Rows that grow in the work folder; what was answered before is known by its state."""

    def __init__(self, folder: Path, descriptor: int, state: RunState, form: LineFormat) -> None:
        self._folder, self._descriptor, self._form = folder, descriptor, form
        self.state, self.saved = state, state.names
        self._waiting = [] if state.length else [form.header]
        self._saved_at = time.monotonic()

    @property
    def tally(self) -> Tally:
        """Of all answers, those before an interruption included."""
        return self.state.tally

    def after_answered(self, sources: Iterable[Path | Unreadable]) -> Iterator[Path | Unreadable]:
        """The files that were not answered before; raises StorageError: others than now were."""
        remaining, again = iter(sources), RunState({})
        for source in remaining if self.state.names else ():
            again.count(source)
            if again.names == self.state.names:
                break
        if again.names_digest != self.state.names_digest:
            raise StorageError(
                f"the first {counted(self.state.names, 'file')} of the interrupted run in {self._folder} were others: "
                f"give the same images in the same order, or remove {self._folder} to start again"
            )
        return remaining

    def write(self, answers: Sequence[Answer]) -> None:
        """Add the answers to one batch; raises StorageError: answers so far are kept."""
        for answer in answers:
            self._waiting.append(self._form.line(answer))
            self.state.count(answer.source)
            self.state.tally.add(answer)
        if time.monotonic() - self._saved_at >= _INTERVAL_S:
            self.save()

    def save(self) -> None:
        """Put what was answered on disk: first the rows, then the state that counts them; raises StorageError."""
        content = "".join(self._waiting).encode(errors="backslashreplace")
        try:
            _write(self._descriptor, content, self.state.length)
            os.fsync(self._descriptor)
        except OSError as error:
            raise StorageError(
                f"cannot write into {self._folder}: {error.strerror}; free space, and continue with --resume"
            ) from error
        self.state.length += len(content)
        self._waiting.clear()
        write_json(self._folder / _STATE, asdict(self.state))
        self.saved, self._saved_at = self.state.names, time.monotonic()


def _write(descriptor: int, content: bytes, offset: int) -> None:
    written = 0
    while written < len(content):
        written += os.pwrite(descriptor, content[written:], offset + written)


@contextmanager
def open_answers(
    output: Path,
    form: LineFormat,
    made_with: Mapping[str, str],
    *,
    resume: bool,
    finish: Callable[[Path], Path],
    log: Log,
) -> Iterator[AnswerFile]:
    """While inside, answers are kept in the folder `OUTPUT.part`; at the end they become the output, and it is removed.

    Args:
        output: replaced in one step, when all answers are there.
        form: of the lines.
        made_with: settings that an interrupted run must have had to be continued.
        resume: continue one; otherwise there must be none.
        finish: from the rows to the file that becomes the output, in the same folder.
        log: receives notes.

    Raises:
        BusyError: another process writes the same output.
        StorageError: no space, no permission, or an interrupted run that must not be continued or overwritten.
    """
    if output.is_dir():
        raise StorageError(f"{output} is a folder: name the file to write")
    require_writable(output.parent)
    folder = make_folder(output.with_name(f"{output.name}.part"))
    with one_at_a_time(folder / _ROWS, wait=False):
        state = _begun(folder, made_with, resume, log)
        with _rows_opened(folder, state.length) as descriptor:
            answers = AnswerFile(folder, descriptor, state, form)
            with _kept(folder, answers, log):
                yield answers
                answers.save()
        move_into_place(finish(folder / _ROWS), output)
        shutil.rmtree(folder)


@contextmanager
def _rows_opened(folder: Path, length: int) -> Iterator[int]:
    descriptor = os.open(folder / _ROWS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        os.ftruncate(descriptor, length)  # what follows was not counted when the run was interrupted
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _kept(folder: Path, answers: AnswerFile, log: Log) -> Iterator[None]:
    """Where the run is interrupted, keep what was answered, and say so."""
    before = answers.saved
    try:
        yield
    except BaseException as stop:
        if isinstance(stop, GFNetDynnError):  # others, such as Ctrl-C, may come between a line and its count
            with suppress(StorageError):
                answers.save()
        if answers.saved > before:
            log(f"note: {counted(answers.saved, 'answer')} kept in {folder}: the same with --resume continues")
        elif not answers.saved:
            shutil.rmtree(folder)
        raise


def _begun(folder: Path, made_with: Mapping[str, str], resume: bool, log: Log) -> RunState:
    """The state to begin with: of the interrupted run, or a new one."""
    rows, new = folder / _ROWS, RunState(dict(made_with))
    if not rows.exists() or not (folder / _STATE).exists():
        if resume:
            log("note: no interrupted run to resume: begins with the first image")
        return new
    old = structured_file(RunState, folder / _STATE, StorageError)
    if not resume:
        raise StorageError(
            f"{folder} holds {counted(old.names, 'answer')} of an interrupted run: continue it with --resume, or "
            "remove the folder to start again"
        )
    for name, value in made_with.items():
        if old.made_with.get(name) != value:
            raise StorageError(
                f"the interrupted run in {folder} had {name} {old.made_with.get(name)}, this one has {value}: give the "
                f"same, or remove {folder} to start again"
            )
    if rows.stat().st_size < old.length:
        raise StorageError(f"{rows} lost answers that were saved: remove {folder} to start again")
    log(f"note: continues after {counted(old.names, 'answer')}")
    return old
