"""Classify files of any number into a file of answers, or line by line. Needs no torch and no network connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from gfnet_dynn import __version__
from gfnet_dynn.bulk.answer_file import open_answers
from gfnet_dynn.bulk.class_folders import ClassFolders, refuse_inside
from gfnet_dynn.bulk.lines import LineFormat, line_format
from gfnet_dynn.bulk.request import ClassifyFilesRequest
from gfnet_dynn.bulk.result import ClassifyFilesResult
from gfnet_dynn.bulk.sources import iter_sources
from gfnet_dynn.bulk.tally import Tally
from gfnet_dynn.errors import ModelChoiceError, require_extra
from gfnet_dynn.progress import Log, ignore_log
from gfnet_dynn.runtime.prediction import Answer, Prediction
from gfnet_dynn.workflows.classification import OpenedClassifier, open_classifier


def classify_files(
    request: ClassifyFilesRequest,
    *,
    on_line: Callable[[str], None] | None = None,
    log: Log = ignore_log,
    ask: Callable[[ModelChoiceError], str] | None = None,
) -> ClassifyFilesResult:
    """Classify any number of images and write a line for each; memory does not grow with their number.

    Lines go to the request's output, or to `on_line` where it names none. What cannot be read has a line in its place,
    but in text. For `log`, `ask` and further errors see `iter_classify`.

    Raises:
        BusyError: another process writes the same output.
        MissingExtraError: Parquet is wanted and pyarrow is not installed.
        OptionError: copies would go where images are read.
        StorageError: no space, no permission, or an interrupted run that must not be continued or overwritten.
    """
    if request.format == "parquet":
        require_extra("output as Parquet", "parquet")
    if request.copy_to is not None:
        refuse_inside(request.copy_to, request.images)
    opened = open_classifier(request, log=log, ask=ask)
    classes = opened.classifier.manifest.classes
    copies = ClassFolders(request.copy_to, classes) if request.copy_to else None
    form = line_format("json" if request.format == "parquet" else request.format or "text", request.top, len(classes))
    sources = iter_sources(request, log)
    if request.output is None:
        return ClassifyFilesResult(_hand_over(opened.answer_batches(sources), form, on_line, copies), None)
    with open_answers(
        request.output,
        form,
        _made_with(opened, request),
        resume=request.resume,
        finish=partial(_finish, request, len(classes)),
        log=log,
    ) as file:
        for answers in opened.answer_batches(file.after_answered(sources)):
            _copy(answers, copies)
            file.write(answers)
    return ClassifyFilesResult(file.tally, request.output)


def _hand_over(
    batches: Iterable[Sequence[Answer]],
    form: LineFormat,
    on_line: Callable[[str], None] | None,
    copies: ClassFolders | None,
) -> Tally:
    tally, header = Tally(), form.header
    for answers in batches:
        _copy(answers, copies)
        for answer in answers:
            tally.add(answer)
            if on_line and (text := header + form.line(answer)):
                on_line(text)
            header = ""
    return tally


def _copy(answers: Iterable[Answer], copies: ClassFolders | None) -> None:
    for answer in answers if copies else ():
        if copies and isinstance(answer, Prediction):
            copies.copy(answer)


def _finish(request: ClassifyFilesRequest, num_classes: int, rows: Path) -> Path:
    if request.format != "parquet":
        return rows
    from gfnet_dynn.bulk.parquet import write_parquet

    return write_parquet(rows, min(request.top, num_classes))


def _made_with(opened: OpenedClassifier, request: ClassifyFilesRequest) -> dict[str, str]:
    """What decides the bytes of the output, by name."""
    policy, net = opened.classifier.policy(request.policy, request.threshold), opened.classifier.net
    return {
        "program": __version__,
        "bundle": opened.bundle_sha256[:12],
        "policy": f"{policy.name} {policy.digest}",
        "precision": net.precision,
        "engine": net.engine_name,
        "batch": str(request.batch),
        "decoding": repr(request.decode),
        "format": str(request.format),
        "top": str(request.top),
        "copies": str(request.copy_to),
    }
