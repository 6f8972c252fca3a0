"""From a request to what is to be done, with everything checked that would stop all workers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gfnet_dynn import __version__
from gfnet_dynn.archive.job import Job
from gfnet_dynn.archive.ledger import Record, begin, read_record, unfinished
from gfnet_dynn.archive.names import remove_other_lists
from gfnet_dynn.archive.open_source import files_to_choose_by, open_source
from gfnet_dynn.archive.output import schema_of
from gfnet_dynn.archive.partition import Item, Partition
from gfnet_dynn.archive.request import ArchiveRequest
from gfnet_dynn.archive.source import Listing, Source
from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.bundle.builtin import builtin_models, find_bundle
from gfnet_dynn.errors import DataError, ImageError
from gfnet_dynn.progress import Log
from gfnet_dynn.runtime.model_choice import choose_model
from gfnet_dynn.runtime.predictor import Classifier, load
from gfnet_dynn.system.storage import to_json

_TRIED = 16  # images at the start: where none of them can be opened, none will be


@dataclass(frozen=True)
class ArchivePlan:
    """What workers need, all partitions, and those that are not finished."""

    job: Job
    partitions: Sequence[Partition]
    missing: Sequence[Partition]


def prepare(request: ArchiveRequest, log: Log) -> ArchivePlan:
    """List the source, open the bundle, and write down what the run is, or compare it with the one to be continued.

    Raises:
        BundleError: missing, damaged, or without that policy or precision.
        DataError: the source cannot be reached, or has no image.
        EngineError: the engine cannot run the bundle.
        ModelChoiceError: no bundle is named, and no built-in model follows from --gsd.
        OptionError: options that do not fit the source.
        StorageError: the folder of answers holds another run.
    """
    output = request.output.absolute()
    earlier = read_record(output)
    bundle = request.bundle_path or choose_model(files_to_choose_by(request), request.gsd).bundle
    found = read_bundle(find_bundle(bundle))
    source = open_source(request, found.manifest)
    listing = source.listed(output, log)
    log(f"note: {source.title}: {described(listing.partitions)}")
    # The same on all machines, and after a restart on another one: `auto` is what is faster here and now.
    precision = earlier.precision if earlier and request.precision == "auto" else request.precision
    classifier = load(
        bundle, engine=request.runtime, precision=precision, threads=request.threads, decode=request.decode
    )
    record = _record(request, source, listing, classifier, found.sha256)
    begin(output, record, earlier)
    remove_other_lists(output, listing.digest)
    missing = unfinished(output, listing.partitions)
    if len(missing) == len(listing.partitions) and not listing.is_tried:
        require_readable(source, missing)
    job = Job(
        source=source,
        output=output,
        bundle=_portable(bundle),
        bundle_sha256=found.sha256,
        policy=request.policy,
        threshold=request.threshold,
        runtime=request.runtime,
        runtime_version=record.runtime,
        precision=record.precision,
        threads=request.threads,
        false_alarms=request.false_alarms,
        decode=request.decode,
    )
    return ArchivePlan(job, listing.partitions, missing)


def _record(
    request: ArchiveRequest, source: Source, listing: Listing, classifier: Classifier, bundle_sha256: str
) -> Record:
    policy, net = classifier.policy(request.policy, request.threshold), classifier.net
    return Record(
        program=__version__,
        images=listing.digest,
        partitions=_cuts(listing.partitions),
        bundle=bundle_sha256,
        policy=f"{policy.name} {policy.digest}",
        precision=net.precision,
        runtime=net.engine_name,
        decoding=repr(request.decode),
        columns=f"{schema_of(source.columns()).names} {request.image_column} {request.id_column}",
        false_alarms=request.false_alarms,
    )


def _cuts(partitions: Sequence[Partition]) -> str:
    cuts = [(each.name, each.start, each.stop, each.rows) for each in partitions]
    return hashlib.sha256(to_json(cuts)).hexdigest()


def described(partitions: Sequence[Partition]) -> str:
    """`200000 images in 20 partitions`."""
    rows = [each.rows for each in partitions]
    images = f"{sum(each or 0 for each in rows)} images in " if None not in rows else ""
    return f"{images}{len(partitions)} partition{'s' * (len(partitions) > 1)}"


def _portable(bundle: Path) -> str:
    """The name of a built-in model, which may lie elsewhere on another machine; else the path."""
    return next((name for name, path in builtin_models().items() if path == bundle), str(bundle.absolute()))


def require_readable(source: Source, partitions: Sequence[Partition]) -> None:
    """Refuse a source that can be listed but not read; raises DataError: of some partitions, no first image opens."""
    problems = []
    for partition in {each.number: each for each in (partitions[0], partitions[len(partitions) // 2])}.values():
        for item in islice(source.items(partition), _TRIED):
            if (problem := _problem(item)) is None:
                return
            problems.append(problem)
    if problems:
        raise DataError(f"none of {len(problems)} images of {source.title} can be read, such as: {problems[0]}")


def _problem(item: Item) -> str | None:
    if isinstance(item.picture, ImageError):
        return str(item.picture)
    if isinstance(item.picture, Path):
        try:
            item.picture.open("rb").close()
        except OSError as error:
            return f"{item.picture}: {error.strerror}"
    return None
