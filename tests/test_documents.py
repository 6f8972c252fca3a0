"""The commands and the Python code of README and tutorials are executed, on small data."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gfnet_dynn.bundle.archive import read_bundle
from gfnet_dynn.calibration.costs import from_benchmark
from gfnet_dynn.cli import app
from tests.conftest import CLASSES, write_image

pytestmark = pytest.mark.usefixtures("quick_refit", "tiny_model")

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/quickstart.md", "docs/tutorials/own-images.md", "docs/tutorials/raspberry-pi.md")
HELD_OUT = 160  # 149 are the fewest for a limit of 2% at 95% confidence

QUICK_TRAINING = (
    *("--model", "gfnet-16x3", "--exits", "0", "--input-size", "32", "--batch", "20"),
    *("--backbone-epochs", "1", "--warmup-epochs", "1", "--num-epoch", "1", "--no-tensorboard"),
)
QUICK = {
    "train": QUICK_TRAINING,
    "evaluate": ("--latency-images", "2", "--latency-repeats", "1"),
    "benchmark": ("--images", "3", "--repeats", "1", "--energy-seconds", "0", "--engine", "onnxruntime"),
}
"""Options that make a command quick, or possible with small data; they are added to those of the document."""

BLOCK = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)


def blocks(document: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))


def commands(block: str) -> Iterator[list[str]]:
    """The command lines of this program; others, such as of pip, are not ours to test."""
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["gfnet-dynn"]:
            yield words[1:]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the documents name."""
    for folder, images in (("scenes", 20), ("data/scenes", 20), ("harbours", 20), ("held-out", HELD_OUT // 4)):
        for index, name in enumerate(CLASSES):
            for number in range(images):
                shift = 5000 if folder == "held-out" else 0
                write_image(tmp_path / folder / name / f"{number:03}.png", index, number + shift)
    for folder in ("photos", "new-images"):
        for number in range(3):
            write_image(tmp_path / folder / f"{number}.png", number, 9000 + number)
    write_image(tmp_path / "photo.jpg", 0, 9999)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def adapt(words: list[str]) -> list[str]:
    """Placeholders, and numbers that are those of a slower network, replaced by those of this one."""
    words = ["checkpoint/checkpoint_scenes_0.75_confEE" if word == "RUN" else word for word in words]
    if "--max-ms" in words:
        manifest = read_bundle(Path(words[1])).manifest
        means = from_benchmark(Path("here.json"), manifest, "latency").means
        words[words.index("--max-ms") + 1] = f"{(means[0] + means[-1]) / 2:.6f}"
    return [*words, *QUICK.get(words[0], ())]


def run(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["gfnet-dynn", *words])
    try:
        app.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_commands_of_a_document_work_in_their_order(
    document: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if document == "docs/tutorials/raspberry-pi.md":  # which begins with a run that another page makes
        assert run(adapt(["train", "scenes"]), monkeypatch) == 0
    executed, refused = 0, set[str]()
    for language, block in blocks(document):
        if language == "python":
            if "ClassifyRequest" in block or "runtime" in block:
                exec(compile(block, document, "exec"), {})  # our own documents
                executed += 1
            continue
        for words in commands(block):
            if set(words) & refused:
                continue
            status = run(adapt(words), monkeypatch)
            printed = capsys.readouterr()
            expected = (0, 2) if words[0] == "calibrate" and "--max-ms" in words else (0,)
            if status == 2:  # on a loaded machine the first exit may take as long as the last
                refused.add(words[words.index("--name") + 1])
            assert status in expected, f"{' '.join(words)}: {printed.out}{printed.err}"
            assert "Traceback" not in printed.err
            executed += 1
    assert executed >= 3
    assert (place / "scene.gfd").is_file() or (place / "harbours.gfd").is_file()


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("document", sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")))
def test_links_between_documents_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    generated = {"reference/cli.md", "reference/recipes.md"}
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)", text):
        path = (ROOT / document).parent / target
        assert path.exists() or any(str(path.resolve()).endswith(each) for each in generated), f"{document}: {target}"
