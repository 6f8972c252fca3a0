"""When a frame starts the command, and with which words."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gfnet_dynn.errors import OptionError
from gfnet_dynn.runtime.prediction import Prediction
from gfnet_dynn.watch.command import Command, condition

RIVER = Prediction(Path("/in/a b.png"), "river", 0.6, "exit 1", 1, {"river": 0.6}, "gates", "0", "fp32", False)
CLASSES = ("field", "river", "town")
SHOW = "import json, os, sys; open(sys.argv[1], 'w').write(json.dumps([sys.argv[2:], dict(os.environ)]))"


@pytest.mark.parametrize("label", ["river", "a river's bank", 'say "hi"', "; rm -rf $HOME `x` {exit} *", "fluß"])
def test_words_stay_words_whatever_the_class_is_called(tmp_path: Path, label: str) -> None:
    file = tmp_path / "shown"
    words = [sys.executable, "-c", SHOW, str(file), "{source}", "{label}", "{confidence}/{exit}", '{"a": 1}']
    assert Command(words, 30.0).run(replace(RIVER, label=label), "now") is None
    arguments, environment = json.loads(file.read_text(encoding="utf-8"))
    assert arguments == ["/in/a b.png", label, "0.600000/exit 1", '{"a": 1}']
    found = {name.removeprefix("GFNET_DYNN_"): environment[name] for name in environment if "GFNET_DYNN_" in name}
    assert {name: found[name] for name in ("SOURCE", "LABEL", "CONFIDENCE", "EXIT", "UNKNOWN", "TIME")} == {
        "SOURCE": "/in/a b.png",
        "LABEL": label,
        "CONFIDENCE": "0.600000",
        "EXIT": "exit 1",
        "UNKNOWN": "false",
        "TIME": "now",
    }


def test_a_failure_is_told(tmp_path: Path) -> None:
    assert Command(["false"], 30.0).run(RIVER, "now") == "ended with status 1"
    assert "embedded null byte" in str(Command(["true", "{label}"], 30.0).run(replace(RIVER, label="\0"), "now"))


def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f"sleep 300 & echo $! > {file}; wait"
    assert "did not end within 1 s" in str(Command(["sh", "-c", script], 1.0).run(RIVER, "now"))
    child = int(file.read_text(encoding="ascii"))
    end = time.monotonic() + 30
    while _runs(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not _runs(child)


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-such-program"], "'no-such-program' is not found, or not executable"),
        (["true", "{lable}"], "did you mean 'label'"),
        (["{label}"], "is not found"),
    ],
)
def test_what_cannot_run_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Command(words, 30.0)


def test_a_file_without_permission_to_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\n", encoding="ascii")
    (tmp_path / "script").chmod(0o644)
    with pytest.raises(OptionError, match="not executable"):
        Command([str(tmp_path / "script")], 30.0)


@pytest.mark.parametrize(
    ("labels", "above", "below", "expected"),
    [
        (None, None, None, "river 60%, river 90%, unknown 90%"),
        (("river",), None, None, "river 60%, river 90%"),
        (("field", "unknown"), None, None, "unknown 90%"),
        (None, 0.9, None, "river 90%, unknown 90%"),
        (None, None, 0.9, "river 60%"),
        (("river",), 0.6, 0.7, "river 60%"),
        (("town",), 0.0, 1.0, ""),
    ],
)
def test_all_conditions_must_hold(
    labels: tuple[str, ...] | None, above: float | None, below: float | None, expected: str
) -> None:
    sure = replace(RIVER, confidence=0.9)
    given = {"river 60%": RIVER, "river 90%": sure, "unknown 90%": replace(sure, unknown=True)}
    made = condition(labels, above, below, CLASSES, has_rule=True)
    assert ", ".join(name for name, each in given.items() if made.holds(each)) == expected


def test_classes_that_the_bundle_does_not_have_are_refused() -> None:
    with pytest.raises(OptionError, match="did you mean 'river'"):
        condition(("rivr",), None, None, CLASSES, has_rule=True)
    with pytest.raises(OptionError, match="no rule for unknown images"):
        condition(("unknown",), None, None, CLASSES, has_rule=False)


def test_the_environment_of_this_process_stays(tmp_path: Path) -> None:
    Command(["true"], 30.0).run(RIVER, "now")
    assert "GFNET_DYNN_LABEL" not in os.environ
