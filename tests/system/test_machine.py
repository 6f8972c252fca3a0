from __future__ import annotations

from pathlib import Path

import pytest

from gfnet_dynn.system.machine import processor


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (
            {"/proc/cpuinfo": "processor\t: 0\nmodel name\t: Swift 9: a chip\nmodel name\t: other\n"},
            "Swift 9: a chip",
        ),
        ({"/proc/cpuinfo": "processor\t: 0\n", "/proc/device-tree/model": "Small Board 5\0"}, "Small Board 5"),
        (
            {"/proc/cpuinfo": "model name\t: Core v8\n", "/proc/device-tree/model": "Big Board\0"},
            "Big Board, Core v8",
        ),
        ({}, "riscv64"),
    ],
)
def test_the_processor_is_named_by_the_system(
    monkeypatch: pytest.MonkeyPatch, files: dict[str, str], name: str
) -> None:
    def read(path: Path, encoding: str) -> str:
        if str(path) not in files:
            raise FileNotFoundError
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr("platform.processor", lambda: "")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert processor() == name
