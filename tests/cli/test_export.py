"""From a trained run to a bundle, and to what a device makes of it."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.model.checkpoint import load_checkpoint
from gfnet_dynn.runlayout import find_checkpoint_file
from gfnet_dynn.runtime import load
from tests.cli.conftest import Run, call
from tests.conftest import CLASSES, write_image
from tests.fingerprints import store_anew


@pytest.fixture(scope="module")
def trained(
    scenes: Path, scenes_config: Path, tmp_path_factory: pytest.TempPathFactory, tiny_model: str, quick_refit: None
) -> Path:
    """A quickly trained network with two exits."""
    output = tmp_path_factory.mktemp("trained")
    options = f"--model {tiny_model} --exits 0,1 --input-size 32 --backbone-epochs 2 --warmup-epochs 1 --num-epoch 1 "
    options += "--batch 16 --allowed-loss 0.9 --threads 1 --no-tensorboard --device cpu --data-set Stripes"
    paths = ["--data-path", str(scenes), "--dataset-config", str(scenes_config), "--output", str(output)]
    assert call("gfnet-dynn", "train", *options.split(), *paths) == 0
    return output / "checkpoint_Stripes_0.75_confEE"


@pytest.fixture(scope="module")
def bundle(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a bundle, with its single graph beside."""
    folder = tmp_path_factory.mktemp("bundle")
    line = ["export", str(trained), "-o", str(folder / "scene.gfd"), "--single-graph", str(folder / "scene.onnx")]
    line += ["--calibration-images", "12"]
    assert call("gfnet-dynn", *line) == 0
    return folder / "scene.gfd"


def test_the_bundle_says_where_it_comes_from(bundle: Path) -> None:
    read = read_bundle(bundle)
    read.verify()
    manifest = read.manifest
    assert manifest.classes == CLASSES
    assert manifest.model == "gfnet-16x3"
    assert [exit_.block for exit_ in manifest.exits] == [0, 1, 2]
    assert manifest.provenance["data"]["data_set"] == "Stripes"
    assert manifest.report["parity"]["images"] == 8
    assert {"gates", "full"} <= {policy.name for policy in manifest.policies}


@pytest.fixture(scope="module")
def second_hand(
    trained: Path, scenes_config: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Path], str]:
    """A bundle of a run that builds upon another, its images of each kind by class, and what its export printed."""
    root = tmp_path_factory.mktemp("second_hand")
    images = {kind: root / kind for kind in ("own/train", "unlabelled", "own/val", "new")}
    for place, folder in enumerate(images.values()):
        for index, name in enumerate(CLASSES):
            for number in range(6):
                write_image(folder / name / f"{number}.png", index, 1000 * (place + 2) + number)
    config = root / "sets.toml"
    config.write_text(scenes_config.read_text(encoding="utf-8").replace("Stripes", "Others"), encoding="utf-8")
    torch.save({"model": dict(load_checkpoint(find_checkpoint_file(trained)).state)}, root / "teacher.pth")
    options = "--input-size 32 --backbone-epochs 1 --warmup-epochs 1 --num-epoch 1 --batch 16 --allowed-loss 0.9 "
    options += "--selection-share 0.2 --threads 1 --no-tensorboard --device cpu --data-set Others"
    paths = ["--data-path", str(root / "own"), "--dataset-config", str(config)]
    built = ["--output", str(root / "runs"), "--checkpoint-path", str(trained)]
    built += ["--unlabelled", str(images["unlabelled"]), "--teacher", str(root / "teacher.pth")]
    assert call("gfnet-dynn", "train", *options.split(), *paths, *built) == 0
    bundle = root / "scene.gfd"
    line = ["export", str(root / "runs" / "checkpoint_Others_0.75_confEE"), "-o", str(bundle)]
    with redirect_stdout(StringIO()) as printed:
        assert call("gfnet-dynn", *line, "--no-int8") == 0
    return bundle, images, printed.getvalue()


def test_a_bundle_knows_the_images_of_all_that_its_network_builds_upon(
    second_hand: tuple[Path, dict[str, Path], str], scenes: Path, run: Run
) -> None:
    bundle, images, _ = second_hand
    full_mmacs = read_bundle(bundle).manifest.exits[-1].macs / 1e6
    line = ("--max-mmacs", str(0.95 * full_mmacs), "--threads", "1", "--output", "calibrated.gfd")
    seen = {**{kind: (images[kind], 24) for kind in ("own/train", "unlabelled")}, "ancestor": (scenes / "train", 80)}
    for folder, count in seen.values():
        outcome = run("gfnet-dynn", "calibrate", bundle, folder, *line)
        assert outcome.status == 2, folder
        assert f"the network was trained or selected on {count} of the {count} images" in outcome.err
    anew = Path("anew")
    for file in (images["own/train"]).rglob("*.png"):
        store_anew(file, anew / file.parent.name / f"{file.stem}.webp")
    outcome = run("gfnet-dynn", "calibrate", bundle, anew, *line)
    assert (outcome.status, "the network was trained or selected on" in outcome.err) == (2, True)
    for folder in (images["own/val"], images["new"], scenes / "val"):
        outcome = run("gfnet-dynn", "calibrate", bundle, folder, *line)
        assert outcome.status == 0, outcome.err


def test_what_is_not_known_of_a_networks_ancestors_is_said(
    second_hand: tuple[Path, dict[str, Path], str], bundle: Path
) -> None:
    taught, _, printed = second_hand
    teacher = str(taught.with_name("teacher.pth"))
    assert teacher in printed.replace("\n", "")
    assert read_bundle(taught).manifest.provenance["learned_from"]["unknown"] == [teacher]
    assert read_bundle(bundle).manifest.provenance["learned_from"]["unknown"] == []


def test_the_device_gives_the_answers_of_torch(bundle: Path, trained: Path, scenes: Path, run: Run) -> None:
    paths = sorted((scenes / "val").rglob("*.png"))
    classifier = load(bundle, precision="fp32", threads=1)
    answers = classifier.classify(paths, policy="full")
    right = np.mean([answer.label == path.parent.name for answer, path in zip(answers, paths, strict=True)])
    outcome = run("gfnet-dynn", "evaluate", trained, "--report", "report", "--latency-images", "0")
    assert outcome.status == 0, outcome.err
    evaluation = json.loads(Path("report/evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["policies"]["full"]["accuracy"] == pytest.approx(right)
    outcome = run("gfnet-dynn", "evaluate", bundle, scenes / "val", "--report", "device", "--precision", "fp32")
    assert outcome.status == 0, outcome.err
    device = json.loads(Path("device/evaluation.json").read_text(encoding="utf-8"))
    for name, policy in evaluation["policies"].items():
        same = ("accuracy", "accuracy_interval", "macro_f1", "exit_shares", "mean_macs", "confusion", "thresholds")
        assert {key: device["policies"][name][key] for key in same} == {key: policy[key] for key in same}


def test_the_single_graph_runs_unaided(bundle: Path, scenes: Path) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = 3  # that thresholds may be given is no fault
    joined = ort.InferenceSession(bundle.with_suffix(".onnx"), options, providers=["CPUExecutionProvider"])
    classifier = load(bundle, precision="fp32", threads=1)
    for path in sorted((scenes / "val").rglob("*.png"))[::5]:
        image = classifier.read(path)[None]
        expected = classifier.net.decide(image, classifier.policy())
        logits, exits = joined.run(["logits", "exit"], {"images": image})
        assert exits.tolist() == expected.exits.tolist()
        assert np.allclose(logits, expected.logits, atol=1e-5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (("nowhere", "-o", "a.gfd"), "no checkpoint at nowhere"),
        (("{trained.parent}", "-o", "a.gfd"), "checkpoint_Stripes_0.75_confEE: name one"),
        (("{trained}", "-o", "."), "is a folder"),
        (("{trained}", "-o", "a.gfd", "--data-path", "nowhere"), "Stripes"),
        (("{trained}", "-o", "a.gfd", "--calibration-images", "0"), "--calibration-images"),
    ],
)
def test_what_cannot_be_exported_is_told(run: Run, trained: Path, line: tuple[str, ...], message: str) -> None:
    outcome = run("gfnet-dynn", "export", *(part.format(trained=trained) for part in line))
    assert outcome.status == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err


def test_export_without_its_packages_names_the_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gfnet_dynn.errors.find_spec", lambda name: None if name == "onnxscript" else object())
    outcome = run("gfnet-dynn", "export", "somewhere", "-o", "a.gfd")
    assert outcome.status == 2
    assert "gfnet-dynn[train,export]" in outcome.err
