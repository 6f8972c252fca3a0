"""The published command line: the whole way on small data, and every kind of bad input."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gfnet_dynn.data.request import DataOptions, SplitSettings
from gfnet_dynn.model.checkpoint import load_checkpoint
from gfnet_dynn.model.early_exit import EarlyExitNet, build_net
from gfnet_dynn.model.weights import published_state
from gfnet_dynn.spec.backbone import BACKBONES
from gfnet_dynn.spec.network import NetSpec, make_input
from gfnet_dynn.system.storage import one_at_a_time
from gfnet_dynn.train.request import Start, TrainSettings
from tests.cli.conftest import Outcome, Run
from tests.conftest import CLASSES
from tests.image_bytes import png16_bytes

pytestmark = pytest.mark.usefixtures("quick_refit")

REPOSITORY = Path(__file__).resolve().parents[2]
SMALL = ("--model", "gfnet-96x8", "--batch", "16", "--num_epoch", "2", "--lr", "0.001", "--threads", "1")
RESULT = Path("checkpoint/checkpoint_Stripes_0.75_confEE/checkpoint_result")

Train = Callable[..., Outcome]


@pytest.fixture
def train(run: Run, scenes: Path, scenes_config: Path) -> Train:
    """Train on the small data set; more options may follow."""

    def start(*more: str | Path, data: Path = scenes) -> Outcome:
        where = ("--data-set", "stripes", "--data-path", data, "--dataset-config", scenes_config)
        return run("main_dynn.py", *where, *SMALL, *more)

    return start


def small_net(classes: tuple[str, ...] = CLASSES) -> EarlyExitNet:
    backbone = BACKBONES["gfnet-96x8"]
    image = make_input(backbone, 32, pad=False)
    return build_net(NetSpec(backbone, backbone.default_exits, image, classes))


def refused(outcome: Outcome, *words: str) -> None:
    """Status 2, a message with all of `words`, no traceback."""
    assert outcome.status == 2, outcome
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in outcome.err, outcome.err


def test_training_then_evaluation(train: Train) -> None:
    trained = train()
    assert trained.status == 0, trained.err
    for stage in ("Backbone", "Warm-up of the exits", "Joint stage"):
        assert stage in trained.out
    lines = Path("checkpoint/checkpoint_Stripes_0.75_confEE/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["stage"] for line in lines] == ["backbone"] * 2 + ["warmup"] * 2 + ["joint"] * 2
    assert list(Path("checkpoint/checkpoint_Stripes_0.75_confEE/tensorboard").iterdir())

    evaluated = train("--eval", "--checkpoint-path", RESULT)
    assert evaluated.status == 0, evaluated.err
    assert "Stripes val, n = 24" in evaluated.out
    report = json.loads((RESULT / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    assert report["data"] == {"data_set": "Stripes", "part": "val", "images": 24}
    assert report["sweeps"]["gate"][-1]["thresholds"] == [None] * 4
    assert report["sweeps"]["gate"][0]["exit_shares"] == [1, 0, 0, 0, 0]
    assert report["latency"]["batch"] == 1
    assert sum(map(sum, report["policies"]["full"]["confusion"])) == 24
    for picture in ("accuracy_macs.png", "exit_shares.png", "confusion.png"):
        with Image.open(RESULT / "evaluation" / picture) as image:
            assert image.size[0] > 300

    # Without --checkpoint-path the run of the same data set and tradeoff is meant.
    assert train("--eval", "--latency-images", "0").status == 0
    again = json.loads((RESULT / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    assert again["latency"] is None
    assert again["sweeps"]["gate"][3]["accuracy"] == report["sweeps"]["gate"][3]["accuracy"]


@pytest.mark.usefixtures("figures_alone")
def test_a_run_on_11_bit_images_remembers_how_they_are_read(train: Train, scenes: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    for path in scenes.rglob("*.png"):
        target = wide / path.relative_to(scenes)
        target.parent.mkdir(parents=True, exist_ok=True)
        samples = np.rint(np.asarray(Image.open(path)) * (2047 / 255)).astype(np.uint16)
        target.write_bytes(png16_bytes(samples))
    refused(train(data=wide), "--stretch")
    trained = train("--stretch", "0,2047", "--num_epoch", "1", data=wide)
    assert trained.status == 0, trained.err
    evaluate = ("--eval", "--checkpoint-path", RESULT, "--latency-images", "0")
    evaluated = train(*evaluate, data=wide)
    assert evaluated.status == 0, evaluated.err
    figures = json.loads((RESULT / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    otherwise = train(*evaluate, "--stretch", "0,999", data=wide)
    assert otherwise.status == 0, otherwise.err
    others = json.loads((RESULT / "evaluation_Stripes_32px" / "evaluation.json").read_text(encoding="utf-8"))
    assert others["sweeps"] != figures["sweeps"]


def test_the_published_spellings_and_defaults(run: Run) -> None:
    hints = {
        each.name: each.default for kind in (DataOptions, SplitSettings, Start, TrainSettings) for each in fields(kind)
    }
    names = ("checkpoint", "input_size", "batch", "num_epoch", "ce_ic_tradeoff", "split_ratio")
    assert [hints[name] for name in names] == [None, None, 64, 100, 0.75, 0.8]
    for spelling in ("--split-ratio", "--split_ratio"):
        refused(run("main_dynn.py", "--data_set", "NaSC", "--data-path", ".", spelling, "1.5"), "split", "1.5")
    for spelling in ("--num_epoch", "--num-epoch"):
        refused(run("main_dynn.py", "--data-set", "NaSC", spelling, "0"), "--num-epoch must be above 0, not 0")
    refused(run("main_dynn.py"), "--data-set")


@pytest.fixture
def random_split(own_scenes: Path, tmp_path: Path) -> tuple[str | Path, ...]:
    """Options of a data set of one folder of classes, split by a ratio of 0.75."""
    config = tmp_path / "own.toml"
    config.write_text(
        '[Own]\nnum_classes = 4\ndefault_input_size = 32\nuse_random_split = true\ntrain_folder = "train"\n',
        encoding="utf-8",
    )
    return ("--data-set", "own", "--data-path", own_scenes, "--dataset-config", config)


OWN_RUN = Path("checkpoint/checkpoint_Own_0.75_confEE")


@pytest.mark.usefixtures("figures_alone")
def test_a_random_split_data_set(run: Run, random_split: tuple[str | Path, ...]) -> None:
    assert run("main_dynn.py", *random_split, *SMALL, "--num_epoch", "1", "--split_ratio", "0.75").status == 0
    split = json.loads(next(Path("checkpoint/splits").iterdir()).read_text(encoding="utf-8"))
    assert {part: len(files) for part, files in split["parts"].items()} == {"train": 56, "selection": 4, "val": 20}
    # The evaluation reports on the split that the checkpoint was trained with, wherever it is started.
    Path("elsewhere").mkdir()
    os.chdir("elsewhere")
    evaluate = ("main_dynn.py", *random_split, "--eval", "--latency-images", "0", "--checkpoint-path", ".." / OWN_RUN)
    assert run(*evaluate).status == 0
    report = json.loads((".." / OWN_RUN / "checkpoint_result/evaluation/evaluation.json").read_text())
    assert report["data"]["images"] == 20
    assert not list(Path().iterdir())
    refused(run(*evaluate, "--split-ratio", "0.5"), "trained with --split-ratio 0.75", "omit --split-ratio")


@pytest.mark.usefixtures("figures_alone")
def test_images_added_since_training_do_not_mix_the_parts(
    run: Run, random_split: tuple[str | Path, ...], own_scenes: Path
) -> None:
    assert run("main_dynn.py", *random_split, *SMALL, "--num_epoch", "1").status == 0
    Image.new("RGB", (32, 32)).save(own_scenes / "train" / "river" / "00new.png")
    evaluated = run("main_dynn.py", *random_split, "--eval", "--latency-images", "0")
    assert evaluated.status == 0, evaluated.err
    assert "changed since the checkpoint was trained; those held out then are reported on" in evaluated.out
    split = json.loads((OWN_RUN / "split.json").read_text(encoding="utf-8"))
    assert f"Own val, n = {len(split['parts']['val'])}" in evaluated.out

    (own_scenes / split["parts"]["val"][0][0]).unlink()
    refused(run("main_dynn.py", *random_split, "--eval"), "1 of the images held out", split["parts"]["val"][0][0])
    (OWN_RUN / "split.json").unlink()
    refused(run("main_dynn.py", *random_split, "--eval"), "was trained or selected on")


def test_a_start_that_fails_keeps_no_split(train: Train) -> None:
    refused(train("--checkpoint-path", "nowhere.pth"), "no checkpoint at nowhere.pth")
    refused(train("--resume"), "no run to resume")
    assert not list(Path().rglob("*.json"))


def test_two_runs_in_one_place_are_refused(train: Train) -> None:
    with one_at_a_time(RESULT.parent):
        refused(train(), "another process works in", "wait until it has ended")
    assert not RESULT.parent.exists()


@pytest.mark.usefixtures("figures_alone")
def test_what_a_checkpoint_says_itself_is_not_overruled(train: Train) -> None:
    assert train("--num_epoch", "1", "--exits", "1,3").status == 0
    refused(train("--eval", "--model", "gfnet-ti"), "--model gfnet-96x8")
    refused(train("--eval", "--exits", "1,4"), "--exits (1, 3)")
    refused(train("--eval", "--selection-share", "0.3"), "trained with --selection-share 0.1")
    assert train("--eval", "--exits", "1,3", "--latency-images", "0").status == 0


@pytest.mark.usefixtures("figures_alone")
def test_the_results_of_earlier_stages_say_what_they_lack(train: Train) -> None:
    assert train("--num_epoch", "1").status == 0
    for stage, words in (("backbone", "its exits and gates are not trained"), ("warmup", "its gates are not trained")):
        outcome = train("--eval", "--latency-images", "0", "--checkpoint-path", RESULT.parent / f"checkpoint_{stage}")
        assert words in outcome.out, outcome.err
    again = train("--resume", "--num_epoch", "1")
    assert "the run is finished already" in again.out


def test_a_start_from_a_checkpoint_takes_its_architecture(
    train: Train, run: Run, scenes: Path, scenes_config: Path
) -> None:
    assert train("--num_epoch", "1", "--exits", "1,3").status == 0
    where = ("--data-set", "stripes", "--data-path", scenes, "--dataset-config", scenes_config)
    more = ("--num_epoch", "1", "--batch", "16", "--output", "second", "--checkpoint-path", RESULT)
    outcome = run("main_dynn.py", *where, *more)
    assert outcome.status == 0, outcome.err
    first, second = (
        load_checkpoint(place / "model.safetensors").spec
        for place in (RESULT, "second" / RESULT.relative_to("checkpoint"))
    )
    assert first == second


def test_an_unfinished_run_that_is_not_resumed_is_named(train: Train) -> None:
    assert train("--num_epoch", "1").status == 0
    shutil.rmtree(RESULT)
    outcome = train("--num_epoch", "1")
    assert "the earlier, unfinished run (--resume would have continued it) was moved to" in outcome.out


def test_padding_an_odd_size(train: Train) -> None:
    refused(
        train("--input-size", "30"), "30 px is not a multiple of the patch of 8 px", "--input-size 24 or 32", "--pad"
    )
    assert train("--input-size", "30", "--pad", "--num_epoch", "1").status == 0
    assert load_checkpoint(RESULT / "model.safetensors").spec.input.pad == 2


def test_600_px_with_patch_16_says_what_to_do(run: Run, scenes: Path) -> None:
    outcome = run("main_dynn.py", "--data-set", "AID", "--data-path", scenes, "--input-size", "600")
    refused(outcome, "600 px is not a multiple of the patch of 16 px", "592 or 608", "--pad")


def test_an_unknown_data_set_suggests_the_nearest(run: Run) -> None:
    refused(
        run("main_dynn.py", "--data-set", "PaternNet", "--data-path", "."),
        "unknown data set",
        "did you mean 'PatternNet'",
    )


def test_a_data_set_that_is_not_there(run: Run) -> None:
    refused(run("main_dynn.py", "--data-set", "ucm"), "no folder data/UCM", "--data-path")


def test_an_empty_class_folder(train: Train, own_scenes: Path) -> None:
    shutil.rmtree(own_scenes / "train" / "river")
    (own_scenes / "train" / "river").mkdir()
    refused(train(data=own_scenes), "train/river", "no images")


def test_another_number_of_classes(run: Run, scenes: Path) -> None:
    refused(run("main_dynn.py", "--data-set", "UCM", "--data-path", scenes), "4 class folders", "21 classes")


def test_a_truncated_jpeg_is_refused_or_skipped(train: Train, own_scenes: Path) -> None:
    good = own_scenes / "train" / "river" / "good.jpg"
    Image.new("RGB", (64, 64), "blue").save(good)
    bad = good.with_name("cut.jpg")
    bad.write_bytes(good.read_bytes()[:400])
    refused(train(data=own_scenes), "1 of the images cannot be decoded", "train/river/cut.jpg", "--on-bad-image skip")
    skipped = train("--on-bad-image", "skip", "--num_epoch", "1", data=own_scenes)
    assert skipped.status == 0, skipped.err
    assert "skipped:" in skipped.out
    assert "cut.jpg" in skipped.out


def test_a_pickled_checkpoint_is_refused(train: Train) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.system, ("touch ran",))

    torch.save({"model": Trap()}, "trap.pth")
    refused(train("--checkpoint-path", "trap.pth"), "trap.pth is refused", "pickled objects")
    refused(train("--eval", "--checkpoint-path", "trap.pth"), "trap.pth is refused")
    assert not Path("ran").exists()


def test_a_checkpoint_of_other_classes(train: Train) -> None:
    torch.save(published_state(small_net(("a", "b", "c"))), "three.pth")
    refused(train("--checkpoint-path", "three.pth"), "classifies 3 classes but the data have 4", "--new-head")
    refused(train("--eval", "--checkpoint-path", "three.pth"), "classifies 3 classes but the data have 4")
    started = train("--checkpoint-path", "three.pth", "--new-head", "--num_epoch", "1")
    assert started.status == 0, started.err
    assert "Backbone" in started.out


@pytest.mark.usefixtures("figures_alone")
def test_a_published_file_is_evaluated(train: Train) -> None:
    torch.save({"model": published_state(small_net())}, "net.pth")
    outcome = train("--eval", "--checkpoint-path", "net.pth", "--latency-images", "2", "--report", "report")
    assert outcome.status == 0, outcome.err
    assert "whether the checkpoint was trained on it is not known" in outcome.out
    assert Path("report/evaluation.json").is_file()


@pytest.mark.parametrize(
    "options", [("--resume",), ("--exits", "1,x"), ("--exits", "5,3"), ("--threads", "0"), ("--input-size", "0")]
)
def test_options_that_make_no_sense(train: Train, options: tuple[str, ...]) -> None:
    refused(train(*options), "error:")


def test_an_output_that_cannot_be_written(train: Train) -> None:
    Path("file").write_text("", encoding="utf-8")
    refused(train("--output", "file/below"), "cannot create the folder file/below")


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Permissions do not bind root: become another user while the test runs."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


def test_no_write_permission(train: Train, ordinary_user: None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        refused(train("--output", folder), f"cannot write into {folder}", "Permission denied", "choose another folder")


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow past 1 MB: writes fail as they do on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_checkpoint_intact(train: Train) -> None:
    assert train("--num_epoch", "1").status == 0
    run_folder = RESULT.parent
    shutil.rmtree(RESULT)
    old = (run_folder / "checkpoint_warmup" / "model.safetensors").read_bytes()
    with full_disk():
        outcome = train("--num_epoch", "1", "--resume")
    refused(outcome, "cannot save", "state.safetensors")
    assert (run_folder / "checkpoint_warmup" / "model.safetensors").read_bytes() == old
    assert not list(run_folder.rglob("*.part"))
    assert train("--num_epoch", "1", "--resume").status == 0


def test_ctrl_c_leaves_a_checkpoint_to_go_on_with(scenes: Path, scenes_config: Path, tmp_path: Path) -> None:
    where = ("--data-set", "stripes", "--data-path", scenes, "--dataset-config", scenes_config)
    command = [sys.executable, REPOSITORY / "main_dynn.py", *where, *SMALL, "--backbone-epochs", "400"]
    with subprocess.Popen([str(part) for part in command], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "2/400" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode == 130
    assert "continue with the same command and --resume" in rest
    assert (tmp_path / RESULT.parent / "checkpoint_backbone" / "state.safetensors").is_file()


def test_a_python_without_the_package_says_how_to_install_it() -> None:
    bare = (sys.executable, "-S", "-E", str(REPOSITORY / "main_dynn.py"))  # without site-packages and PYTHONPATH
    done = subprocess.run(bare, capture_output=True, text=True, check=False)
    refused(Outcome(done.returncode, done.stdout, done.stderr), "not installed for", "pip install -e '.[train]'")


def test_another_missing_package_is_not_mistaken_for_it(tmp_path: Path) -> None:
    (tmp_path / "gfnet_dynn").mkdir()
    (tmp_path / "gfnet_dynn" / "__init__.py").write_text("import a_package_that_nobody_has\n", encoding="utf-8")
    bare = (sys.executable, "-S", str(REPOSITORY / "main_dynn.py"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(bare, capture_output=True, text=True, check=False, env=environment)
    assert "No module named 'a_package_that_nobody_has'" in done.stderr
    assert "not installed for" not in done.stderr


@pytest.mark.usefixtures("figures_alone")
def test_evaluation_is_at_the_size_of_training_unless_told_otherwise(train: Train) -> None:
    assert train("--input-size", "46", "--pad", "--num_epoch", "1").status == 0
    for options, size, folder in (((), 48, "evaluation"), (("--input-size", "32"), 32, "evaluation_Stripes_32px")):
        outcome = train("--eval", "--latency-images", "0", *options)
        assert outcome.status == 0, outcome.err
        report = json.loads((RESULT / folder / "evaluation.json").read_text(encoding="utf-8"))
        assert report["network"]["input_px"] == size


def test_a_plain_network_is_not_evaluated(train: Train) -> None:
    plain = {n: t for n, t in published_state(small_net()).items() if not n.startswith(("gates", "intermediate"))}
    torch.save(plain, "plain.pth")
    refused(train("--eval", "--checkpoint-path", "plain.pth"), "without early exits")


def test_parts_that_share_images_are_refused(run: Run, scenes: Path, tmp_path: Path) -> None:
    config = tmp_path / "own.toml"
    config.write_text('[Own]\nnum_classes = 4\ndefault_input_size = 32\nval_folder = "train"\n', encoding="utf-8")
    outcome = run("main_dynn.py", "--data-set", "own", "--data-path", scenes, "--dataset-config", config, *SMALL)
    refused(outcome, "belongs to train and to val")


@pytest.mark.parametrize("options", [("--latency-images", "-1"), ("--latency-repeats", "0")])
def test_impossible_timings_are_refused(train: Train, options: tuple[str, ...]) -> None:
    refused(train("--eval", *options), f"{options[0]} must be")


def test_names_with_brackets_are_printed_as_they_are(train: Train) -> None:
    outcome = train("--output", "ru[red]ns", "--num_epoch", "1")
    assert outcome.status == 0, outcome.err
    assert "written: ru[red]ns/checkpoint_Stripes_0.75_confEE" in outcome.out
    refused(train("--checkpoint-path", "[/x].pth"), "no checkpoint at [/x].pth")
