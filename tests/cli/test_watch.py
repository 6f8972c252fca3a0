"""`gfnet-dynn watch` as a process: files written slowly, crashes, signals, commands."""

from __future__ import annotations

import io
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from gfnet_dynn.workflows import WatchRequest, watch
from tests import bundles
from tests.cli.conftest import Run
from tests.cli.test_monitor import reference_by

QUICK = ("--precision", "fp32", "--threads", "1")
FAST = ("--interval", "0.05", "--settle", "0.3")
LIMIT_S = 60  # for what is waited for; far more than it takes


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle and an empty folder `in`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundles.write_tiny(tmp_path / "tiny.gfd")
    Path("in").mkdir()


def content(number: int = 0) -> bytes:
    """An image file."""
    buffer = io.BytesIO()
    Image.fromarray(bundles.images(20)[number % 20]).save(buffer, "PNG")
    return buffer.getvalue()


def put(name: str, number: int = 0) -> None:
    """An image that is renamed into the folder."""
    beside = Path(f"in/.{name}.part")
    beside.write_bytes(content(number))
    beside.rename(Path("in") / name)


def lines(log: str = "log.jsonl") -> list[dict[str, object]]:
    """The whole lines of a log."""
    path = Path(log)
    text = path.read_text(encoding="ascii") if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def names(log: str = "log.jsonl") -> list[str]:
    return [Path(str(each["source"])).name for each in lines(log)]


def wait_until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a watch of `in`, and wait until it watches; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        before = Path("log.jsonl.seen").stat().st_mtime_ns if Path("log.jsonl.seen").exists() else 0
        command = [sys.executable, "-m", "gfnet_dynn", "watch", "tiny.gfd", "in", "-o", "log.jsonl", *FAST, *QUICK]
        process = subprocess.Popen([*command, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        started.append(process)
        wait_until(
            lambda: (
                process.poll() is not None
                or (Path("log.jsonl.seen").exists() and Path("log.jsonl.seen").stat().st_mtime_ns > before)
            )
        )
        assert process.poll() is None, process.communicate()
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def watch_here(run: Run) -> Run:
    return lambda *arguments: run("gfnet-dynn", "watch", *FAST, *QUICK, "tiny.gfd", *arguments)


def test_frames_come_in_whole_and_each_is_logged_once(start: Start) -> None:
    put("there.png")
    process = start()
    slow, whole = Path("in/slow.png"), content(1)
    with slow.open("wb") as file:
        for at in range(0, len(whole), len(whole) // 5 + 1):
            file.write(whole[at : at + len(whole) // 5 + 1])
            file.flush()
            time.sleep(0.1)
    put("renamed.png", 2)
    Path("in/below").mkdir()
    Path("in/below/deep.png").write_bytes(content(3))
    Path("in/broken.png").write_bytes(whole[: len(whole) // 2])
    wait_until(lambda: len(lines()) >= 4)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert sorted(names()) == ["broken.png", "deep.png", "renamed.png", "slow.png"]
    assert [Path(str(each["source"])).name for each in lines() if "error" in each] == ["broken.png"]
    assert "skips 1 file" in err
    assert "1 of 4 files could not be read" in " ".join(out.split())
    assert "Traceback" not in err


def test_killed_at_any_moment_no_frame_is_lost_or_logged_twice(start: Start) -> None:
    put("before.png")
    process, total = start("--resume", "--run", "true"), 60

    def feed() -> None:
        for number in range(total):
            put(f"{number:03}.png", number)
            time.sleep(0.02)

    feeder = threading.Thread(target=feed)
    feeder.start()
    for least in (3, 20, 40):
        wait_until(lambda least=least: len(lines()) >= least)  # type: ignore[misc]
        process.kill()
        process.communicate()
        if random.random() < 0.7:
            with Path("log.jsonl").open("ab") as log:
                log.write(b'{"time": "2026-')
        process = start("--resume", "--run", "true")
    feeder.join()
    wait_until(lambda: len(lines()) >= total)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert sorted(names()) == [f"{number:03}.png" for number in range(total)]


def test_ctrl_c_ends_with_130_and_keeps_what_is_logged(start: Start) -> None:
    process = start()
    put("a.png")
    wait_until(lines)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "written: log.jsonl" in out
    assert names() == ["a.png"]


def test_sigterm_lets_the_command_in_hand_end(start: Start) -> None:
    process = start("--run", "sh -c 'touch begun; sleep 1; touch ended'")
    put("a.png")
    put("b.png")
    wait_until(Path("begun").exists)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert Path("ended").exists()
    assert len(lines()) == 1


def test_a_second_watch_of_the_same_log_is_refused(start: Start, watch_here: Run) -> None:
    start()
    outcome = watch_here("in", "-o", "log.jsonl")
    assert outcome.status == 2
    assert "another process works in log.jsonl" in outcome.err


def test_a_folder_that_goes_away_is_waited_for(start: Start) -> None:
    process = start()
    Path("in").rename("gone")
    time.sleep(0.3)
    Path("gone").rename("in")
    put("a.png")
    wait_until(lines)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=LIMIT_S)
    assert err.count("is away") == err.count("is back") == 1
    assert process.returncode == 0


def test_a_log_that_logrotate_moves_is_begun_anew(start: Start) -> None:
    process = start()
    put("a.png")
    wait_until(lines)
    Path("log.jsonl").rename("log.jsonl.old")
    put("b.png", 1)
    wait_until(lines)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT_S)
    assert (names("log.jsonl.old"), names()) == (["a.png"], ["b.png"])


def test_a_file_that_is_written_again_is_a_new_frame(start: Start) -> None:
    process = start()
    for number in range(3):
        put("latest.png", number)
        wait_until(lambda number=number: len(lines()) > number)  # type: ignore[misc]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT_S)
    assert names() == ["latest.png"] * 3


def test_the_command_runs_for_what_is_asked_and_its_failure_ends_nothing(watch_here: Run) -> None:
    for number in range(12):
        put(f"a '{number}' b.png", number)
    command = f'{shlex.quote(sys.executable)} -c \'import sys; open("ran", "a").write(sys.argv[1] + chr(10)); exit(3)\''
    outcome = watch_here(
        *("in", "-o", "log.jsonl", "--existing", "classify", "--frames", "12"),
        *("--run", f"{command} {{source}}", "--when", "river,town"),
    )
    assert outcome.status == 0
    expected = [each["source"] for each in lines() if each["label"] in ("river", "town")]
    assert Path("ran").read_text(encoding="utf-8").splitlines() == expected
    assert 0 < len(expected) < 12
    assert f"{len(expected)} commands run, {len(expected)} failed" in outcome.out
    assert outcome.err.count("ended with status 3") == len(expected)


def test_files_are_moved_by_class(watch_here: Run) -> None:
    for number in range(6):
        put(f"{number}.png", number)
    Path("in/broken.png").write_bytes(b"x")
    outcome = watch_here(*("in", "-o", "log.jsonl", "--existing", "classify", "--frames", "7", "--move-to", "sorted"))
    assert outcome.status == 0
    expected = sorted(f"{each['label']}/{Path(str(each['source'])).name}" for each in lines() if "error" not in each)
    assert sorted(path.relative_to("sorted").as_posix() for path in Path("sorted").rglob("*.png")) == expected
    assert [path.name for path in Path("in").iterdir()] == ["broken.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent", "-o", "log.jsonl"), "cannot watch absent: there is no such folder"),
        (("tiny.gfd", "-o", "log.jsonl"), "cannot watch tiny.gfd"),
        (("in", "-o", "in"), "in is a folder: name the log to write"),
        (("in", "-o", "tiny.gfd"), "tiny.gfd is not the log of a watch"),
        (("in", "-o", "tiny.gfd/log.jsonl"), "tiny.gfd"),
        (("in", "-o", "log.jsonl", "--run", "no-such-command"), "'no-such-command' is not found"),
        (("in", "-o", "log.jsonl", "--run", "echo 'open"), "No closing quotation"),
        (("in", "-o", "log.jsonl", "--run", " "), "--run is empty"),
        (("in", "-o", "log.jsonl", "--run", "true", "--when", "rivr"), "did you mean 'river'"),
        (("in", "-o", "log.jsonl", "--run", "true", "--when", "river,"), "--when takes classes"),
        (("in", "-o", "log.jsonl", "--run", "true", "--below", "60"), "did you mean 60%"),
        (("in", "-o", "log.jsonl", "--when", "river"), "--when says when a command runs"),
        (("in", "-o", "log.jsonl", "--interval", "0"), "--interval must be above 0"),
        (("in", "-o", "log.jsonl", "--max-log-size", "much"), "a size is a number of bytes such as 256M"),
        (("in", "-o", "log.jsonl", "--gsd", "1"), "--gsd chooses among the built-in models"),
        (("in", "-o", "log.jsonl", "--move-to", "in/sorted"), "--move-to in/sorted lies in in"),
        (("camera", "-o", "log.jsonl", "--move-to", "sorted"), "a camera has none"),
        (("in",), "Missing option"),
    ],
)
def test_what_cannot_be_done_is_told_at_the_start(watch_here: Run, arguments: tuple[str, ...], message: str) -> None:
    outcome = watch_here(*arguments)
    assert outcome.status == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert not Path("in/sorted").exists()


@pytest.mark.parametrize("arguments", [("in",), ("camera",)])
def test_without_a_model_it_is_asked_for(run: Run, arguments: tuple[str, ...]) -> None:
    outcome = run("gfnet-dynn", "watch", *arguments, "-o", "log.jsonl")
    assert outcome.status == 2
    assert "which model?" in outcome.err
    assert "give --gsd METRES" in outcome.err


def test_a_folder_named_camera_is_not_taken_for_one(watch_here: Run) -> None:
    Path("camera").mkdir()
    outcome = watch_here("camera", "-o", "log.jsonl")
    assert outcome.status == 2
    assert "give its whole path, or camera:0" in outcome.err


@pytest.mark.parametrize(
    ("source", "device"),
    [("camera", "/dev/video0"), ("camera:2", "/dev/video2"), ("/dev/video7", "/dev/video7"), ("/data/camera", None)],
)
def test_cameras_have_names(source: str, device: str | None) -> None:
    assert WatchRequest(bundle=Path("tiny.gfd"), source=source, output=Path("log.jsonl")).camera == device


def test_from_python_another_thread_stops_it() -> None:
    stop, answers = threading.Event(), list[object]()

    def take(answer: object) -> None:
        answers.append(answer)
        stop.set()

    put("a.png")
    put("b.png", 1)
    request = WatchRequest(
        bundle=Path("tiny.gfd"), source="in", output=Path("log.jsonl"), existing="classify", settle=0, precision="fp32"
    )
    result = watch(request, on_answer=take, stop=stop)
    assert (result.frames, len(answers)) == (1, 1)
    assert result.output == Path("log.jsonl")


def test_a_frame_that_is_written_again_while_it_is_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from gfnet_dynn.runtime.predictor import Classifier  # noqa: PLC0415

    read, reads = Classifier.read, list[object]()

    def changed(self: Classifier, picture: object) -> object:
        reads.append(picture)
        pixels = read(self, picture)  # type: ignore[arg-type]
        if len(reads) == 1:
            os.utime("in/a.png", (1, 1))
        return pixels

    monkeypatch.setattr(Classifier, "read", changed)
    put("a.png")
    request = WatchRequest(
        bundle=Path("tiny.gfd"), source="in", output=Path("log.jsonl"), existing="classify", settle=0,
        precision="fp32", frames=1, interval=0.01,
    )  # fmt: skip
    watch(request)
    assert len(reads) == 2
    assert [each["modified_ns"] for each in lines()] == [1_000_000_000]


def test_monitor_reads_the_log(tmp_path: Path, watch_here: Run, run: Run) -> None:
    gates = bundles.POLICIES[0]
    reference = reference_by("gates", bundles.images(200, seed=1), tmp_path / "tiny.gfd")
    bundles.write_tiny(Path("tiny.gfd"), policies=(replace(gates, references={"fp32": reference}), bundles.POLICIES[2]))
    for number, pixels in enumerate(bundles.images(60, seed=2)):
        Image.fromarray(pixels).save(f"in/{number:02}.png")
    Path("in/broken.png").write_bytes(b"x")
    assert watch_here("in", "-o", "log.jsonl", "--existing", "classify", "--frames", "61").status == 0
    outcome = run("gfnet-dynn", "monitor", "tiny.gfd", "log.jsonl")
    assert (outcome.status, outcome.err) == (0, "")
    assert "n = 60 new and 200 calibration images" in outcome.out
