from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gfnet_dynn.errors import MissingExtraError, StorageError
from gfnet_dynn.evaluation import plots
from gfnet_dynn.evaluation.plots import draw_evaluation
from gfnet_dynn.evaluation.result import EvaluationResult
from tests.evaluation.evaluations import evaluation

NAMES = ["accuracy_macs.png", "confusion.png", "exit_shares.png"]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def test_three_pictures_are_drawn(tmp_path: Path) -> None:
    files = draw_evaluation(evaluation(10), tmp_path)
    assert files == [tmp_path / name for name in NAMES]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    for file in files:
        picture = pixels(file)
        assert min(picture.shape[:2]) > 400
        assert 0.005 < (picture < 250).any(axis=2).mean() < 0.95  # neither blank nor filled
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_every_accuracy_has_its_interval() -> None:
    result = evaluation(10)
    axes = result.draw().axes[0]
    points = 5 + len(result.policies) + sum(map(len, result.sweeps.values()))  # exits, policies, sweeps
    bars = [segment for each in axes.containers for segment in each.lines[2][0].get_segments()]
    assert len(bars) == points
    low, high = 100 * result.exit_accuracy[0].low, 100 * result.exit_accuracy[0].high
    assert [end for _, end in bars[0]] == pytest.approx([low, high])


def test_a_bundle_has_no_sweep_and_no_plot_of_it(tmp_path: Path) -> None:
    names = [file.name for file in draw_evaluation(replace(evaluation(4), sweeps={}), tmp_path)]
    assert names == ["accuracy_macs.png", "confusion.png"]


def test_the_confusion_matrix_grows_with_the_classes(tmp_path: Path) -> None:
    sides = []
    for classes in (2, 20):
        picture = pixels(draw_evaluation(evaluation(classes), tmp_path)[1])
        sides.append(picture.shape[0])
    assert sides[1] > 1.5 * sides[0]


@pytest.mark.parametrize("draw", [EvaluationResult.draw, plots._exit_shares, plots._confusion])
def test_titles_name_network_data_and_number_of_images(draw: Callable[[EvaluationResult], Any]) -> None:
    title = draw(evaluation(4)).get_suptitle()
    assert all(fact in title for fact in ("gfnet-192x12", "256 px", "Scenes val", "n = 48"))


def test_a_class_that_is_never_recognised_shows_a_zero() -> None:
    result = evaluation(3, chosen=False)
    confusion = np.array([[9, 0, 3], [1, 0, 11], [0, 0, 12]])
    full = replace(result.policies["full"], confusion=confusion)
    axes = plots._confusion(replace(result, policies={"full": full})).axes[0]
    numbers = {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in axes.texts}
    assert numbers == {(0, 0): "9", (0, 2): "3", (1, 0): "1", (1, 1): "0", (1, 2): "11", (2, 2): "12"}


def test_a_result_draws_itself_in_the_format_of_the_suffix(tmp_path: Path) -> None:
    assert evaluation(2).plot(tmp_path / "figure.svg").read_text(encoding="utf-8").count("<svg") == 1
    with pytest.raises(StorageError, match=r"figure\.bmp"):
        evaluation(2).plot(tmp_path / "figure.bmp")


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="plots"):
        draw_evaluation(evaluation(2), tmp_path)
