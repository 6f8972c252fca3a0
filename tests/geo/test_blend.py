"""From chips to cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gfnet_dynn.errors import StorageError
from gfnet_dynn.geo.blend import NODATA, CellRows, cell_rows
from gfnet_dynn.geo.grid import Axis, Grid
from gfnet_dynn.geo.journal import Record, record_type

GRID = Grid(Axis(1, 330, 16, 8), Axis(1, 165, 16, 8))  # 42 × 21 cells, 41 × 20 chips


def records(probabilities: npt.NDArray[np.float32], grid: Grid = GRID, **fields: npt.NDArray[Any]) -> list[Record]:
    """Records of all units from the probabilities of all chips, [rows, columns, classes]; all is valid."""
    shape = (grid.units_down * grid.side, grid.units_across * grid.side)
    whole: dict[str, npt.NDArray[Any]] = {
        "probabilities": np.zeros((*shape, probabilities.shape[-1]), np.float32),
        "exits": np.full(shape, NODATA, np.uint8),
        "unknown": np.zeros(shape, np.uint8),
        "validity": np.zeros(shape, np.float32),
        "valid_pixels": np.zeros(shape, np.uint32),
    }
    rows, columns = probabilities.shape[:2]
    chips = np.s_[:rows, :columns]
    whole["probabilities"][chips], whole["validity"][chips], whole["exits"][chips] = probabilities, 1, 0
    sizes = np.outer(grid.rows.cell_lengths(), grid.columns.cell_lengths())
    whole["valid_pixels"][: sizes.shape[0], : sizes.shape[1]] = sizes
    for name, values in fields.items():
        whole[name][: values.shape[0], : values.shape[1]] = values
    made = []
    for unit in grid.units():
        here = np.s_[unit.row : unit.row + grid.side, unit.column : unit.column + grid.side]
        record = np.zeros((), record_type(grid.side, probabilities.shape[-1]))
        for name, values in whole.items():
            record[name] = values[here]
        made.append(record)
    return made


def joined(made: list[Record], grid: Grid = GRID, *, blend: bool = True) -> CellRows:
    """All rows at once."""
    parts = list(cell_rows(lambda index: made[index], grid, blend=blend))
    assert [part.first for part in parts] == list(range(0, grid.rows.cells, grid.side))
    names = ("classes", "confidences", "exits", "valid_pixels")
    return CellRows(0, *(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def drawn(grid: Grid = GRID, classes: int = 4) -> npt.NDArray[np.float32]:
    shape = (grid.rows.chips, grid.columns.chips)
    return np.random.default_rng(0).dirichlet(np.ones(classes), shape).astype(np.float32)


def test_a_cell_is_the_mean_of_the_chips_that_cover_it() -> None:
    chips = drawn()
    found = joined(records(chips))
    padded = np.zeros((44, 23, 4))
    weights = np.zeros((44, 23))
    padded[1:42, 1:21], weights[1:42, 1:21] = chips, 1  # chip [r, c] covers cells r, r + 1 and c, c + 1
    for down in (0, 1):
        for across in (0, 1):
            assert padded[down : down + 42, across : across + 21].shape == (42, 21, 4)
    sums = sum(padded[down : down + 42, across : across + 21] for down in (0, 1) for across in (0, 1))
    counts = sum(weights[down : down + 42, across : across + 21] for down in (0, 1) for across in (0, 1))
    mean = sums / np.asarray(counts)[..., None]
    assert (found.classes == mean.argmax(-1)).all()
    assert (found.confidences == np.rint(100 * mean.max(-1))).all()


def test_without_blending_a_cell_is_one_chip() -> None:
    grid = Grid(Axis(1, 160, 8, 8), Axis(1, 160, 8, 8))
    chips = drawn(grid)
    found = joined(records(chips, grid), grid, blend=False)
    assert (found.classes == chips.argmax(-1)).all()
    assert (found.confidences == np.rint(100 * chips.max(-1).astype(np.float64))).all()


def test_overlapping_chips_without_blending_leave_no_cell_empty() -> None:
    assert (joined(records(drawn()), blend=False).classes < 4).all()


def test_chips_without_valid_pixels_count_nothing() -> None:
    chips = drawn()
    validity = np.ones(chips.shape[:2], np.float32)
    validity[:, 5:] = 0
    chips[:, 5:] = [0, 0, 0, 1]
    found = joined(records(chips, validity=validity))
    assert (found.classes[:, 5] != NODATA).all()  # chip 4 reaches it
    assert (found.classes[:, 6:] == NODATA).all()
    assert (found.classes[:, :6] == joined(records(chips[:, :5], validity=validity)).classes[:, :6]).all()


def test_a_cell_with_less_than_half_of_its_pixels_is_nodata() -> None:
    valid = np.full((42, 21), 32, np.uint32)
    valid[3, 4] = 31
    found = joined(records(drawn(), valid_pixels=valid))
    whole = np.outer(GRID.rows.cell_lengths(), GRID.columns.cell_lengths())
    assert (found.classes == NODATA).sum() == 1
    assert found.classes[3, 4] == found.confidences[3, 4] == found.exits[3, 4] == NODATA
    assert found.valid_pixels[3, 4] == 0
    assert whole[-1, -1] == 10  # the last cell is cut, and half of what is there is enough
    assert found.classes[-1, -1] != NODATA


def test_the_exit_is_the_latest_of_the_chips() -> None:
    exits = np.zeros((41, 20), np.uint8)
    exits[10, 10] = 3
    found = joined(records(drawn(), exits=exits))
    assert (found.exits == 4).sum() == 4
    assert (found.exits[10:12, 10:12] == 4).all()
    assert (found.exits == 1).sum() == 42 * 21 - 4


def test_a_cell_is_unknown_where_half_of_its_chips_are() -> None:
    unknown = np.zeros((41, 20), np.uint8)
    unknown[10, 10:12] = 1
    found = joined(records(drawn(), unknown=unknown))
    assert [tuple(each) for each in np.argwhere(found.classes == 4)] == [(10, 11), (11, 11)]


def test_a_record_that_is_gone_is_an_error() -> None:
    with pytest.raises(StorageError, match="damaged on disk"):
        list(cell_rows(lambda index: None, GRID, blend=True))
