"""Collections of GeoTIFFs as an archive: each chip is a row, with its footprint. Needs the extra `geo`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from gfnet_dynn.archive import geoparquet
from gfnet_dynn.archive.addresses import require_reachable, shown
from gfnet_dynn.archive.partition import Item, Partition
from gfnet_dynn.archive.places import is_url
from gfnet_dynn.archive.scene_finder import find_scenes
from gfnet_dynn.archive.scene_options import SceneOptions
from gfnet_dynn.archive.source import Listing, Source, partition_images
from gfnet_dynn.archive.stac_items import FoundScene
from gfnet_dynn.bundle.manifest import Manifest
from gfnet_dynn.errors import DataError, GFNetDynnError, ImageError, OptionError
from gfnet_dynn.geo.chips import ChipPlan, ChipRule, ChipScene, PlacedChip, open_chips
from gfnet_dynn.geo.grid import Unit
from gfnet_dynn.geo.request import Scale
from gfnet_dynn.progress import Log
from gfnet_dynn.system.storage import json_line, write_bytes
from gfnet_dynn.wording import counted

_AT_ONCE = 8  # scenes that are opened at a time, as most of that is waiting
_LOOKED_AT = 8  # scenes, to choose a model


@dataclass(frozen=True)
class SceneBlock:
    """What a partition holds: blocks of one scene, one after the other, as `map` divides it.

    Attributes:
        scene: its id.
        address: path or URL.
        start: the first block.
        stop: the first that does not belong to it.
        scale: values of the samples that percentiles of the whole scene are; None: none were asked for.
        size: of the file in bytes; None: not known.
        error: why the scene cannot be taken; it has no blocks then.
    """

    scene: str
    address: str
    start: int = 0
    stop: int = 0
    scale: tuple[float, float] | None = None
    size: int | None = None
    error: str = ""


@dataclass(frozen=True)
class _Survey:
    """What was found out about one scene before the first chip.

    Attributes:
        whole: all of it.
        chips: their number.
        most_in_unit: chips of one unit of its grid, at most.
        gsd_m: ground sampling distance.
        error: why it cannot be taken.
    """

    whole: SceneBlock
    chips: int = 0
    most_in_unit: int = 1
    gsd_m: float = 0.0
    error: GFNetDynnError | None = None

    def blocks(self, most: int) -> Iterator[SceneBlock]:
        """Parts of at most so many chips, but of one unit at least; one that cannot be taken stays whole."""
        if self.error is not None:
            yield self.whole
        step = max(1, most // self.most_in_unit)
        for first in range(0, self.whole.stop, step):
            yield replace(self.whole, start=first, stop=min(first + step, self.whole.stop))


@dataclass(frozen=True)
class SceneSource(Source):
    """Scenes below a folder, or of STAC items.

    Attributes:
        places: folders, files and URLs that the user named.
        rule: how they are cut into chips, for one model.
        partition_size: most chips of a partition, but for a block that has more; None: by the number of all.
        asset: of STAC items.
        coarsest_m: largest ground sampling distance that the model is meant for; None: it does not say.
    """

    places: tuple[str, ...]
    rule: ChipRule
    partition_size: int | None
    asset: str | None = None
    coarsest_m: float | None = None

    @property
    def title(self) -> str:
        """The places."""
        return ", ".join(map(shown, self.places))

    def listed(self, store: Path, log: Log) -> Listing:
        """Open every scene, and divide it; see `Source`. A scene that cannot be taken is a partition with its error.

        Raises:
            DataError: there is none, or none that can be taken; or one cannot be reached now: it would be an error for
                ever.
            OptionError: options that fit none of them.
        """
        found = find_scenes(self.places, self.asset)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            surveys = list(pool.map(self._survey, found))
        _require_one(surveys)
        self._warn(surveys, log)
        most = partition_images(self.partition_size, sum(each.chips for each in surveys))
        blocks = [block for each in surveys for block in each.blocks(most)]
        lines = [f"{json_line(asdict(block))}\n".encode() for block in blocks]
        digest = _digest(self.rule, blocks)
        listing = write_bytes(store / f"_scenes-{digest[:16]}", b"".join(lines))
        return Listing(list(_partitions(str(listing.absolute()), blocks, lines)), digest, is_tried=True)

    def items(self, partition: Partition) -> Iterator[Item]:
        """The chips of one partition, row by row of each block; see `Source`."""
        block = _block_of(partition)
        if block.error:
            yield Item(block.scene, ImageError(block.error), {"scene": block.scene})
            return
        with self._opened(block) as scene:
            crs = scene.plan.crs
            for unit in _units(scene.plan, block):
                for chip in _chips(scene, unit):
                    yield _item(block, crs, chip)

    def columns(self) -> Sequence[Any]:
        """Those of GeoParquet, and where in its scene a chip lies."""
        return geoparquet.columns()

    def schema_metadata(self, partition: Partition) -> Mapping[str, str]:
        """`geo`: of all chips of the partition, those without valid pixels included."""
        block = _block_of(partition)
        if block.error:
            return geoparquet.metadata(())
        with self._opened(block) as scene:
            rows = [row for unit in _units(scene.plan, block) for row in scene.plan.footprints(unit)]
        return geoparquet.metadata(footprint for row in rows for footprint in row)

    def _survey(self, found: FoundScene) -> _Survey:
        """Open a scene, and decide everything about it; raises DataError: it cannot be reached now."""
        try:
            if found.error is not None:
                raise found.error
            with open_chips(found.address, self.rule) as scene:
                plan = scene.plan
        except (DataError, OptionError) as error:
            if is_url(found.address):
                require_reachable(found.address)
            message = str(error).replace(found.address, shown(found.address)) if found.address else str(error)
            return _Survey(SceneBlock(found.id, found.address, error=message), error=type(error)(message))
        scale = plan.samples.stretch if self.rule.scale and self.rule.scale.of_samples else None
        size = None if is_url(found.address) else Path(found.address).stat().st_size
        whole = SceneBlock(found.id, found.address, 0, plan.grid.num_units, scale, size)
        return _Survey(whole, plan.grid.num_chips, plan.grid.side**2, plan.scene.coarser_m)

    @contextmanager
    def _opened(self, block: SceneBlock) -> Iterator[ChipScene]:
        """The scene of a block, planned as it was when it was listed; raises DataError."""
        rule = self.rule if block.scale is None else replace(self.rule, scale=Scale(*block.scale))
        with ExitStack() as stack:
            try:
                scene = stack.enter_context(open_chips(block.address, rule))
            except OptionError as error:  # they fitted the scene before
                raise _changed(block) from error
            if scene.plan.grid.num_units < block.stop:
                raise _changed(block)
            yield scene

    def _warn(self, surveys: Sequence[_Survey], log: Log) -> None:
        failed = [each.whole for each in surveys if each.error is not None]
        if failed:
            first = failed[0]
            log(f"note: {counted(len(failed), 'scene')} cannot be taken, the first is {first.scene}: {first.error}")
        coarse = [each for each in surveys if self.coarsest_m and each.gsd_m > self.coarsest_m]
        if coarse:
            worst = max(coarse, key=lambda each: each.gsd_m)
            log(
                f"warning: {counted(len(coarse), 'scene')} of more than {self.coarsest_m:g} m per pixel, for which the "
                f"model is not meant, up to {worst.gsd_m:.3g} m in {worst.whole.scene}: expect more errors"
            )


def some_files(places: Sequence[str], asset: str | None) -> list[Path]:
    """GeoTIFFs on disk by which a model may be chosen; raises DataError, OptionError as `find_scenes`."""
    local = (each for each in find_scenes(places, asset) if each.address and not is_url(each.address))
    return [Path(each.address) for each in islice(local, _LOOKED_AT)]


def scene_source(
    places: Sequence[str], options: SceneOptions, gsd_m: float | None, manifest: Manifest, partition_size: int | None
) -> SceneSource:
    """The source for a model; `gsd_m` replaces what scenes state, `partition_size` is in chips."""
    content = manifest.input.size - manifest.input.pad
    card = manifest.card
    rule = ChipRule(
        content,
        manifest.input.stretch,
        options.chip or (card.chip_side_m(content) if card else None),
        options.stride,
        options.bands,
        options.scale,
        gsd_m,
    )
    return SceneSource(tuple(places), rule, partition_size, options.asset, card.gsd_m[1] if card else None)


def _changed(block: SceneBlock) -> DataError:
    return DataError(f"{shown(block.address)} is another scene than when it was listed: name another --output")


def _require_one(surveys: Sequence[_Survey]) -> None:
    """Stop where no scene can be taken, with the reason of the first."""
    errors = [each.error for each in surveys if each.error is not None]
    if len(errors) == len(surveys):
        others = f" (and {len(errors) - 1} more that cannot be taken)" if len(errors) > 1 else ""
        raise type(errors[0])(f"{errors[0]}{others}") from errors[0]


def _digest(rule: ChipRule, blocks: Sequence[SceneBlock]) -> str:
    """Without what may be another at each time: queries of URLs, which may be keys, and words of errors."""
    named = [
        asdict(replace(block, address=shown(block.address), error="error" if block.error else "")) for block in blocks
    ]
    return hashlib.sha256(json_line([repr(rule), named]).encode()).hexdigest()


def _partitions(listing: str, blocks: Sequence[SceneBlock], lines: Sequence[bytes]) -> Iterator[Partition]:
    """One for each line of the listing, by the place of its bytes there."""
    start = 0
    for number, (block, line) in enumerate(zip(blocks, lines, strict=True)):
        yield Partition(number, (listing,), start, start + len(line), name=block.scene)
        start += len(line)


def _block_of(partition: Partition) -> SceneBlock:
    """The line of a partition in the listing; raises DataError."""
    (listing,) = partition.uris
    try:
        with Path(listing).open("rb") as file:
            file.seek(partition.start)
            values = json.loads(file.read(partition.stop - partition.start))
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot read the list of scenes {listing}: {error}; all workers must see the folder of answers"
        ) from error
    scale = values.pop("scale")
    return SceneBlock(**values, scale=tuple(scale) if scale else None)


def _units(plan: ChipPlan, block: SceneBlock) -> Iterator[Unit]:
    return islice(plan.grid.units(), block.start, block.stop)


def _chips(scene: ChipScene, unit: Unit) -> Iterable[PlacedChip]:
    """Those of a unit; what cannot be read over a network is read again, as the network may have failed.

    Raises:
        DataError: the scene cannot be reached now.
    """
    if not is_url(scene.address):
        return scene.chips(unit)
    chips = list(scene.chips(unit))
    if all(each.readable == 1 for each in chips):
        return chips
    require_reachable(scene.address)
    return scene.chips(unit)


def _item(block: SceneBlock, crs: str, chip: PlacedChip) -> Item:
    name = f"{block.scene}#{chip.row},{chip.column}"
    place = {"scene": block.scene, "row": chip.row, "column": chip.column, "valid": chip.validity, "crs": crs}
    place |= geoparquet.geometry(chip.footprint)
    if chip.pixels is None:
        where = f"the chip in row {chip.row}, column {chip.column} of {shown(block.address)}"
        return Item(name, ImageError(f"{where} cannot be read: get the file anew"), place)
    return Item(name, chip.pixels, place)
