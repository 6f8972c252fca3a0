from __future__ import annotations

import re
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
from gfnet_dynn.evaluation.evaluation import Evaluation
from gfnet_dynn.evaluation.plots import draw_evaluation
from tests.evaluation.evaluations import evaluation

NAMES = ["accuracy_macs.png", "exit_shares.png", "confusion.png"]


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


def test_the_chosen_threshold_is_marked_and_only_if_there_is_one(tmp_path: Path) -> None:
    reddish = {}
    for chosen in (True, False):
        folder = tmp_path / str(chosen)
        folder.mkdir()
        picture = pixels(draw_evaluation(evaluation(10, chosen=chosen), folder)[0]).astype(int)
        reddish[chosen] = int(((picture[:, :, 0] - picture[:, :, 1:].max(axis=2)) > 100).sum())
    assert reddish[True] > 50
    assert reddish[False] == 0


def test_the_confusion_matrix_grows_with_the_classes(tmp_path: Path) -> None:
    sides = []
    for classes in (2, 20):
        picture = pixels(draw_evaluation(evaluation(classes), tmp_path)[2])
        sides.append(picture.shape[0])
    assert sides[1] > 1.5 * sides[0]


@pytest.mark.parametrize("draw", [plots._accuracy_against_macs, plots._exit_shares, plots._confusion])
def test_titles_name_network_and_data_where_they_are_known(draw: Callable[[Evaluation], Any]) -> None:
    known = evaluation(4)
    for images, said in ((48, "48 val images"), (1, "1 val image")):
        title = draw(replace(known, images=images)).get_suptitle()
        assert re.match(rf"gfnet-192x12, 256 px\nScenes, {said}\b", title), title


def test_a_class_that_is_never_recognised_shows_a_zero() -> None:
    judged = evaluation(3, chosen=False)
    confusion = np.array([[9, 0, 3], [1, 0, 11], [0, 0, 12]])
    full = replace(judged.sweep[-1], confusion=confusion)
    axes = plots._confusion(replace(judged, sweep=(full,))).axes[0]
    numbers = {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in axes.texts}
    assert numbers == {(0, 0): "9", (0, 2): "3", (1, 0): "1", (1, 1): "0", (1, 2): "11", (2, 2): "12"}


def test_a_folder_that_is_missing_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot save .*accuracy_macs\.png: No such file or directory"):
        draw_evaluation(evaluation(2), tmp_path / "absent")


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match="drawing plots"):
        draw_evaluation(evaluation(2), tmp_path)
