"""Make a built-in model from images to card, and install it in this checkout.

    python experiments/models.py aerial UCM_FOLDER
    python experiments/models.py sentinel2 EUROSAT_FOLDER

The folder has train/ and val/ with a folder of images for each class. Trains by the recipe of the model's name under
runs/models (an interrupted training continues), exports weights of 8 bits, calibrates, evaluates on val, writes the
card and, to docs/results/models.json, the figures and digests. Texts of the cards: experiments/models.toml.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tomllib
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
from figures import ROOT, write_figures

from gfnet_dynn.bundle.archive import read_bundle, update_bundle
from gfnet_dynn.bundle.card import Card, PolicyFigures
from gfnet_dynn.bundle.manifest import FULL, Manifest
from gfnet_dynn.evaluation.request import EvaluationRequest
from gfnet_dynn.evaluation.result import EvaluationResult
from gfnet_dynn.runlayout import RunLayout
from gfnet_dynn.workflows import CalibrationRequest, ExportRequest, calibrate, evaluate, export, recipe_request, train

INSTALLED = ROOT / "src" / "gfnet_dynn" / "models"
WORK = ROOT / "runs" / "models"
FIGURES = "models"
CAREFUL, FAST = "1-point", "fast"
FAST_SHARE = 0.5  # of the full network's MACs


def main() -> None:
    """Make one model."""
    cards = tomllib.loads(Path(__file__).with_name("models.toml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=sorted(cards))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    share = cards[given.name].pop("calibration_share")  # of the training images; 0: val is calibrated on
    unknown = cards[given.name].pop("unknown")
    recipe = f"python experiments/models.py {given.name} FOLDER"
    figures: dict[str, Any] = {"measured_on": "", "images": 0, "policies": {}, "class_accuracy": {}}
    texts = msgspec.convert({**cards[given.name], "recipe": recipe, **figures}, Card)
    work = WORK / given.name
    data = divide(given.folder.resolve(), work / given.folder.name, share)
    run = trained(given.name, data, work, given.threads)
    bundle = work / f"{given.name}.gfd"
    exported = export(ExportRequest(run=run, output=bundle, compact=True), log=print)  # what int8 would lose
    int8 = {name: asdict(each) for name, each in exported.differences.get("int8", {}).items()}
    export(ExportRequest(run=run, output=bundle, compact=True, int8=False), log=print)
    full = exported.manifest.exits[-1].macs
    held_out = data / ("calibration" if share else "val")
    fast = CalibrationRequest(bundle=bundle, images=held_out, max_mmacs=FAST_SHARE * full / 1e6, name=FAST, **unknown)
    careful = CalibrationRequest(
        bundle=bundle,
        images=held_out,
        risk="harmful-exits",
        risk_limit=0.01,
        confidence=0.95,
        false_alarms=unknown["false_alarms"],
        unknown_by=unknown["unknown_by"] if share else "distance",  # few images: all of them test the risk
        name=CAREFUL,
    )
    for request in (fast, careful):
        sys.stdout.write(f"{calibrate(request).to_markdown()}\n")
    update_bundle(bundle, lambda manifest: replace(manifest, policies=ordered(manifest)))
    result = evaluate(EvaluationRequest(subject=bundle, images=data / "val", precision="fp32"))
    card = with_figures(texts, result, given.folder.name, calibrated_on_val=share == 0)
    update_bundle(bundle, lambda manifest: replace(manifest, card=card))
    INSTALLED.mkdir(exist_ok=True)
    shutil.copyfile(bundle, INSTALLED / bundle.name)
    record(given.name, bundle, card, int8)


def divide(folder: Path, target: Path, share: float) -> Path:
    """The same data set, by links, with a share of the training images of each class under calibration/."""
    if share == 0:
        return folder
    for part in ("train", "val"):
        for image in sorted((folder / part).glob("*/*")):
            drawn = part == "train" and zlib.crc32(image.name.encode()) % 1000 < 1000 * share
            link = target / ("calibration" if drawn else part) / image.parent.name / image.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(image)
    return target


def trained(name: str, data: Path, work: Path, threads: int | None) -> Path:
    """The run's folder; an interrupted training continues, a finished one is taken as it is."""
    folders = list(work.glob("checkpoint_*"))
    if folders and RunLayout(folders[0]).model().is_file():
        return folders[0]
    options: dict[str, Any] = {"output": work, "threads": threads, "resume": bool(folders)}
    return train(recipe_request(name, folder=data, **options), log=print).run


def ordered(manifest: Manifest) -> tuple[Any, ...]:
    """The careful policy is the default."""
    return tuple(manifest.policy(name) for name in (CAREFUL, FAST, FULL))


def with_figures(card: Card, result: EvaluationResult, data_set: str, *, calibrated_on_val: bool) -> Card:
    """The card with the figures of an evaluation on val."""
    full = result.policies[FULL]
    shares = full.confusion.diagonal() / full.confusion.sum(axis=1)
    return replace(
        card,
        measured_on=f"the {result.images} val images of {data_set}, in fp32 with weights of 8 bits",
        images=result.images,
        policies={
            name: PolicyFigures(
                accuracy=each.accuracy.value,
                interval=(each.accuracy.low, each.accuracy.high),
                macs_share=each.mean_macs / result.subject.exit_macs[-1],
                calibrated_on_these=name != FULL and calibrated_on_val,
            )
            for name, each in result.policies.items()
        },
        class_accuracy=dict(zip(result.subject.classes, map(float, shares), strict=True)),
    )


def record(name: str, bundle: Path, card: Card, int8: Any) -> None:
    """Add the model to the figures of all built-in models."""
    file = ROOT / "docs" / "results" / f"{FIGURES}.json"
    known = msgspec.json.decode(file.read_bytes()) if file.exists() else {}
    models = {
        **known.get("models", {}),
        name: {
            "file_sha256": hashlib.sha256(bundle.read_bytes()).hexdigest(),
            "bundle_sha256": read_bundle(bundle).sha256,
            "bytes": bundle.stat().st_size,
            "card": msgspec.to_builtins(card),
            "int8_against_fp32": int8,
        },
    }
    write_figures({"command": "make models", "models": dict(sorted(models.items()))}, FIGURES)


if __name__ == "__main__":
    main()
