from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.processor import processor


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("processor\t: 0\nmodel name\t: Swift 9: a chip\nmodel name\t: other\n", "Swift 9: a chip"),
        ("processor\t: 0\nModel\t\t: Small Board 5\n", "Small Board 5"),
    ],
)
def test_the_processor_is_named_by_the_system(monkeypatch: pytest.MonkeyPatch, content: str, name: str) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: content)
    assert processor() == name


def test_a_system_that_tells_nothing_is_named_by_its_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert processor() == "riscv64"
