from __future__ import annotations

import pytest

pa = pytest.importorskip("pyarrow", reason="the extra archive")

from gfnet_dynn.archive.tables import DamagedTableError, _damage  # noqa: E402 # it imports pyarrow


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("no answer"),
        ConnectionResetError("gone"),
        PermissionError("forbidden"),
        OSError(5, "disk"),
        KeyError(),
    ],
)
def test_an_error_that_may_pass_is_no_damage(error: Exception) -> None:
    with pytest.raises(type(error)):
        _damage("a.parquet", error)


@pytest.mark.parametrize(
    "error", [pa.ArrowInvalid("no magic bytes"), OSError("unexpected end of stream"), ValueError()]
)
def test_what_pyarrow_says_of_a_file_is_damage(error: Exception) -> None:
    assert isinstance(_damage("a.parquet", error), DamagedTableError)
