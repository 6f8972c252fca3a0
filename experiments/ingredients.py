"""Measure the ingredients of distillation: the student on a small budget, one ingredient changed at a time.

    python experiments/ingredients.py UCM_FOLDER UNLABELLED_FOLDER [EPOCHS] [THREADS] [--only ROW …]

Each row is one command, printed before it runs; all share seed, split and teacher, and see the same number of images;
those with a teacher see sixteen views of each in turn. Runs below runs/ingredients with the same epochs are not trained
again: several processes may train rows, each with its own `--only`, and one without it collects the figures. Prints
JSON; `--write NAME` writes it to docs/results/NAME.json.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

from figures import ROOT, write_figures

RUNS = ROOT / "runs" / "ingredients"
TEACHER = ("--teacher", "efficientnet-lite0", "--teacher-size", "128")
STUDENT = ("--data-set", "UCM", "--model", "gfnet-192x12", "--exits", "none", "--input-size", "128")


def rows(unlabelled: str, epochs: int) -> dict[str, tuple[str, ...]]:
    """The options of each row."""
    whole, half = ("--backbone-epochs", str(epochs)), ("--backbone-epochs", str(-(-epochs // 2)))
    return {
        "none": (*whole, "--no-refit"),
        "hard": (*whole, "--no-refit", *TEACHER, "--distillation", "hard"),
        "soft": (*whole, "--no-refit", *TEACHER),
        "frequency": (*whole, "--no-refit", *TEACHER, "--distillation", "none", "--frequency-weight", "1"),
        "soft+frequency": (*whole, "--no-refit", *TEACHER, "--frequency-weight", "1"),
        # Half of the images of an epoch have no label, so half as many epochs show as many images.
        "soft+unlabelled": (*half, "--no-refit", *TEACHER, "--unlabelled", unlabelled),
        "soft+refit": (*whole, *TEACHER),
        "stem": (*whole, "--no-refit", "--model", "gfnet-192x12-conv"),
        "soft+stem": (*whole, "--no-refit", *TEACHER, "--model", "gfnet-192x12-conv"),
    }


def main() -> None:
    """Train and evaluate each row."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("unlabelled", type=Path)
    parser.add_argument("epochs", type=int, nargs="?", default=25)
    parser.add_argument("threads", type=int, nargs="?", default=1)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--write")
    given = parser.parse_args()
    epochs, threads, found = given.epochs, str(given.threads), {}
    options_of = rows(str(given.unlabelled.resolve()), epochs)
    for name in given.only or options_of:
        options, place = options_of[name], RUNS / f"{epochs}-epochs" / name
        run = place / "checkpoint_UCM_0.75_confEE"
        report = run / "checkpoint_result" / "evaluation" / "evaluation.json"
        command = [
            *("train", *STUDENT, "--data-path", str(given.data.resolve()), *options),
            *("--threads", threads, "--output", str(place)),
            *("--evaluate", "--no-tensorboard"),
        ]
        if not report.is_file():
            sys.stderr.write(f"gfnet-dynn {shlex.join(command)}\n")
            share_teacher(place)
            subprocess.run([sys.executable, "-m", "gfnet_dynn", *command], check=True)
        found[name] = figures(run, report)
    described = {
        "command": f"python experiments/ingredients.py UCM_FOLDER UNLABELLED_FOLDER {epochs} {threads}",
        "what": "gfnet-192x12, UCM at 128 px, without exits; top-1 on val, which nothing was chosen on; one seed",
        "rows": found,
    }
    write_figures(described, given.write)


def share_teacher(place: Path) -> None:
    """Let a row use the teacher that an earlier row trained."""
    common = RUNS / "teachers"
    common.mkdir(parents=True, exist_ok=True)
    place.mkdir(parents=True, exist_ok=True)
    if not (place / "teachers").exists():
        (place / "teachers").symlink_to(common, target_is_directory=True)


def figures(run: Path, report: Path) -> dict[str, float | int]:
    """Accuracy, images seen and minutes of one row."""
    full = json.loads(report.read_text(encoding="utf-8"))["policies"]["full"]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "top1": round(full["accuracy"], 4),
        "macro_f1": round(full["macro_f1"], 4),
        "training_minutes": round(sum(line["seconds"] for line in lines) / 60, 1),
        "images_seen": round(sum(line["seconds"] * line["images_per_s"] for line in lines)),
    }


if __name__ == "__main__":
    main()
