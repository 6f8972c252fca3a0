"""`gfnet-dynn evaluate` of a bundle on class folders: on a device, without torch."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gfnet_dynn.bundle.manifest import LEARNED_FROM
from gfnet_dynn.errors import OptionError
from gfnet_dynn.evaluation.request import EvaluationRequest
from gfnet_dynn.runtime import load
from gfnet_dynn.workflows.evaluation import evaluate
from tests import bundles
from tests.cli.conftest import Run
from tests.fingerprints import of_files, store_anew, write_scene
from tests.test_architecture import without_torch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of the tiny bundle's classes, in folders."""
    for index, pixels in enumerate(bundles.images(30)):
        place = tmp_path / "scenes" / bundles.CLASSES[index % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{index:02}.png")
    return tmp_path / "scenes"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return bundles.write_tiny(tmp_path / "tiny.gfd")


def request(bundle: Path, folder: Path, **more: object) -> EvaluationRequest:
    return EvaluationRequest(**{"subject": bundle, "images": folder, "precision": "fp32", "threads": 1, **more})  # type: ignore[arg-type]


def test_every_policy_has_the_answers_of_the_runtime(bundle: Path, folder: Path) -> None:
    result = evaluate(request(bundle, folder))
    files = sorted(folder.rglob("*.png"))
    classifier = load(bundle, precision="fp32", threads=1)
    assert result.images == 30
    for name, each in result.policies.items():
        answers = classifier.classify(files, policy=name)
        right = [answer.label == file.parent.name for answer, file in zip(answers, files, strict=True)]
        assert each.accuracy.value == pytest.approx(np.mean(right))
        assert each.mean_macs == pytest.approx(np.mean([answer.macs for answer in answers]))
        shares = [np.mean([answer.exit == exit_ for answer in answers]) for exit_ in result.subject.exits]
        assert each.point.shares == pytest.approx(shares)
    by_file = {answer.source: answer for answer in classifier.classify(files)}
    for mistake in result.mistakes:
        answer = by_file[mistake.file]
        assert (answer.label, answer.exit) == (mistake.predicted, mistake.exit)
        assert answer.confidence == pytest.approx(mistake.confidence, abs=1e-6)
        assert mistake.true == mistake.file.parent.name != mistake.predicted
    confidences = [each.confidence for each in result.mistakes]
    assert confidences == sorted(confidences, reverse=True)
    assert len(confidences) == sum(by_file[file].label != file.parent.name for file in files)


def test_it_runs_without_torch_and_matplotlib(bundle: Path, folder: Path, tmp_path: Path) -> None:
    body = 'sys.modules["onnx"] = None\nfrom gfnet_dynn.cli.app import main\nmain()'
    line = (
        "evaluate",
        str(bundle),
        str(folder),
        "--report",
        str(tmp_path / "out"),
        "--mistakes",
        str(tmp_path / "m.png"),
    )
    result = without_torch(body, *line)
    assert result.returncode == 0, result.stderr
    described = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert described["data"]["images"] == 30
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"evaluation.json", "mistakes.png"}
    with Image.open(tmp_path / "m.png") as sheet:
        assert sheet.size[0] > 600


def test_other_folders_and_unreadable_images_are_named(run: Run, bundle: Path, folder: Path) -> None:
    (folder / "river" / "bad.png").write_bytes(b"no image")
    (folder / "airport").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "airport" / "a.png")
    (folder / "town").rename(folder / ".town")
    outcome = run("gfnet-dynn", "evaluate", bundle, folder, "--precision", "fp32")
    assert outcome.status == 2
    assert "bad.png" in outcome.err
    assert "n = 20" in outcome.out
    assert "airport (1 image)" in outcome.out
    assert "not evaluated: town" in outcome.out


def test_no_class_in_the_folder_hints_at_the_right_one(run: Run, bundle: Path, folder: Path) -> None:
    outcome = run("gfnet-dynn", "evaluate", bundle, folder.parent)
    assert outcome.status == 2
    assert str(folder) in outcome.err
    assert "did you mean 'river'" in run("gfnet-dynn", "evaluate", bundle, _only(folder, "rivers")).err
    assert run("gfnet-dynn", "evaluate", bundle, "nowhere").status == 2


def _only(folder: Path, name: str) -> Path:
    place = folder.parent / "other"
    place.mkdir()
    (folder / "river").rename(place / name)
    return place


def test_images_of_training_are_counted(tmp_path: Path, folder: Path) -> None:
    seen = [write_scene(tmp_path / f"{seed}.png", seed) for seed in range(3)]
    for each in seen:
        store_anew(each, folder / "river" / f"{each.stem}.jpg")
    seen += sorted(folder.rglob("*.png"))[:7]
    content = bundles.files() | {LEARNED_FROM: of_files(seen)}
    bundle = bundles.write_tiny(tmp_path / "known.gfd", content)
    notes = " ".join(evaluate(request(bundle, folder)).notes())
    assert "on 10 of these 33 images" in notes


def test_the_policy_that_is_asked_for_is_detailed(bundle: Path, folder: Path) -> None:
    result = evaluate(request(bundle, folder, policy="full"))
    assert next(iter(result.policies)) == "full"
    assert result.default.point.shares == (0, 0, 1)


def test_names_that_are_no_text_reach_no_terminal(run: Run, bundle: Path, folder: Path) -> None:
    for file in sorted(folder.rglob("*.png")):
        file.rename(file.with_stem(file.stem + os.fsdecode(b"\x1b[31m\n\xff")))
    outcome = run("gfnet-dynn", "evaluate", bundle, folder, "--report", "out", "--precision", "fp32")
    assert outcome.status == 0, outcome.err
    assert "\x1b" not in outcome.out + outcome.err
    stored = json.loads(Path("out/evaluation.json").read_text(encoding="utf-8"))["mistakes"]
    assert all(r"\x1b[31m\n\xff.png" in each["file"] for each in stored)
    assert Path("out/mistakes.png").is_file()


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"images": None}, "tiny.gfd"),
        ({"data_set": "UCM"}, "--data-set"),
        ({"latency_images": -1}, "--latency-images"),
        ({"subject": Path("runs/a")}, "scenes"),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    bundle: Path, folder: Path, changes: dict[str, object], fact: str
) -> None:
    with pytest.raises(OptionError, match=fact):
        request(bundle, folder, **changes)


def test_the_picture_of_mistakes_needs_a_known_format(run: Run, bundle: Path, folder: Path) -> None:
    outcome = run("gfnet-dynn", "evaluate", bundle, folder, "--mistakes", "mistakes.gif")
    assert outcome.status == 2
    assert "mistakes.gif" in outcome.err


def test_the_tables_hold_at_80_columns(
    bundle: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    from gfnet_dynn.cli.verbs import evaluate as command  # noqa: PLC0415

    command(request(bundle, folder))
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert all(len(line) <= 80 for line in printed.splitlines() if not line.startswith(("warning: ", "next: ")))
