"""What `gfnet-dynn export` does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from gfnet_dynn.bundle.archive import SUFFIX, write_bundle
from gfnet_dynn.cli.options import DataOptions, NetOptions
from gfnet_dynn.cli.render.progress import Counter
from gfnet_dynn.data.learned_from import RECORD, LearnedFrom
from gfnet_dynn.data.loading.scenes import SceneData
from gfnet_dynn.errors import ExportError
from gfnet_dynn.export.bundle import Exported, LabelledImages, export_net
from gfnet_dynn.export.single_graph import join_segments, require_same_answers, single_graph_metadata
from gfnet_dynn.images.fingerprint import BYTES
from gfnet_dynn.model.checkpoint import Checkpoint
from gfnet_dynn.system.storage import require_writable, write_bytes
from gfnet_dynn.train.runs.start import find_checkpoint_file, trained_net
from gfnet_dynn.workflows.subject import find_origin, find_subject

_CALIBRATION_SEED = 0
_CHECKED = 32  # images by which the single graph is held against the segments


@dataclass(frozen=True)
class Wanted:
    """What to export, as the options of `gfnet-dynn export` say it; no calibration images leave int8 out."""

    run: Path
    output: Path
    data_path: Path | None
    dataset_config: Path | None
    calibration_images: int
    single_graph: Path | None


def run_export(wanted: Wanted, console: Console) -> Exported:
    """Export, print what int8 changes, write the bundle."""
    if wanted.output.is_dir():
        example = wanted.output / f"scene{SUFFIX}"
        raise ExportError(f"{wanted.output} is a folder: name the file to write, such as {example}")
    output = wanted.output if wanted.output.suffix else wanted.output.with_suffix(SUFFIX)
    for target in filter(None, (output, wanted.single_graph)):
        if target.is_dir():
            raise ExportError(f"{target} is a folder: name the file to write")
        require_writable(target.parent)
    file = find_checkpoint_file(wanted.run)
    origin = find_origin(file)
    if not isinstance(origin.trained, Checkpoint) or origin.trained_on is None:
        raise ExportError(
            f"{file} does not say what data it was trained on, so nothing could be checked: go on with it by "
            "`gfnet-dynn train --checkpoint-path`, and export that run"
        )
    options = DataOptions(
        data_set=origin.trained_on.data_set, data_path=wanted.data_path, dataset_config=wanted.dataset_config
    )
    data, spec = find_subject(origin, options, NetOptions(), console)
    net = trained_net(origin.trained, spec, file)
    held_out = _images(data, "selection", None, console)
    learned_from = origin.trained_on.learned_from
    described = {"images": len(learned_from.images) // BYTES, "unknown": list(learned_from.unknown)}
    exported = export_net(
        net,
        spec,
        {**origin.provenance, RECORD: described},
        held_out,
        _images(data, "train", wanted.calibration_images, console).pixels if wanted.calibration_images else None,
        lambda said: console.print(said, markup=False, highlight=False, soft_wrap=True),
        learned_from.images or None,
    )
    exported = replace(exported, notes=(*exported.notes, *_doubts(learned_from)))
    joined = None
    if wanted.single_graph:
        policy = exported.manifest.policies[0]
        joined = join_segments(
            exported.segments, policy, single_graph_metadata(exported.manifest, policy)
        ).SerializeToString()
        require_same_answers(joined, exported, policy, held_out.pixels[:_CHECKED])
    _print(exported, console)
    write_bundle(output, exported.manifest, exported.files)
    written = [f"bundle: {output} ({output.stat().st_size / 1e6:.1f} MB)"]
    if wanted.single_graph and joined:
        write_bytes(wanted.single_graph, joined)
        written.append(f"single graph: {wanted.single_graph} (exit policy {exported.manifest.policies[0].name}, fp32)")
    console.print("\n".join(written), markup=False, highlight=False, soft_wrap=True)
    return exported


def _doubts(learned_from: LearnedFrom) -> tuple[str, ...]:
    if not learned_from.unknown:
        return ()
    named = " and ".join(learned_from.unknown)
    return (f"what {named} learned from is not known: calibrate on no image that it may have seen",)


def _images(data: SceneData, part: str, count: int | None, console: Console) -> LabelledImages:
    """The images of a part, or `count` of them drawn with a fixed seed."""
    files = data.split.parts[part]
    if count is not None and count < len(files):
        drawn = np.random.default_rng(_CALIBRATION_SEED).permutation(len(files))[:count]
        files = tuple(files[index] for index in sorted(drawn.tolist()))
    loader = data.raw_loader(files)
    told, found = Counter(console)(f"Reading the {part} images"), []
    for batch in loader.in_order(64, torch.device("cpu")):
        found.append(batch.images.permute(0, 2, 3, 1).contiguous().numpy())
        told(sum(len(each) for each in found), len(files))
    return LabelledImages(np.concatenate(found), loader.labels, part)


def _print(exported: Exported, console: Console) -> None:
    report = exported.manifest.report
    table = Table(title=f"{exported.manifest.model}: accuracy and exits on the {report['measured_on']}")
    for heading in ("precision", "exit policy", "top-1 %", "% of MACs", "% leaving at each exit"):
        table.add_column(heading, justify="right")
    for precision, policies in report["precisions"].items():
        for name, figures in policies.items():
            shares = " ".join(f"{100 * share:.0f}" for share in figures["exit_shares"])
            accuracy, cost = f"{100 * figures['accuracy']:.1f}", f"{100 * figures['mean_cost']:.0f}"
            table.add_row(precision, name, accuracy, cost, shares)
    console.print(table)
    for note in exported.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
