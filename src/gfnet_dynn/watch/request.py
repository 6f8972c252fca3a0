"""The request of `watch`; needs no NumPy."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from gfnet_dynn.bundle.builtin import bundle_argument
from gfnet_dynn.errors import OptionError
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.options import lenient, option, require
from gfnet_dynn.runtime.request import (
    EngineName,
    PrecisionName,
    engine_option,
    is_bundle,
    policy_option,
    precision_option,
    threads_option,
    threshold_option,
)
from gfnet_dynn.units import parse_bytes, share_option

_log, _command = partial(option, panel="Log"), partial(option, panel="Command")

_CAMERA = re.compile(r"camera(?::(\d+))?|(/dev/video\d+)")


def parse_labels(text: str) -> tuple[str, ...]:
    """`forest,river` → the two; raises OptionError: none."""
    labels = tuple(part.strip() for part in text.split(","))
    if not all(labels):
        raise OptionError(f"--when takes classes such as forest,river, not {text!r}")
    return labels


@dataclass(frozen=True, kw_only=True)
@lenient
class WatchRequest:
    """Options."""

    bundle: Path | None = bundle_argument(None, "the built-in model for --gsd, or for the GeoTIFFs in the folder")
    source: str | None = option(None, "Folder, camera, camera:N or /dev/videoN.", argument=True)
    output: Path = option(..., "Log, to which a line of JSON is added for each frame.", short="-o")
    interval: float = option(
        1.0, "Time between two looks into the folder, or two frames of a camera.", metavar="SECONDS"
    )
    settle: float = option(
        2.0,
        "A file is complete when it has not changed for so long; 0: frames are renamed into place.",
        metavar="SECONDS",
    )
    existing: Literal["skip", "classify"] = option("skip", "What to do with files that are there at the start.")
    resume: bool = option(False, "Continue with what came since the watch was stopped.", flag="--resume")
    frames: int | None = option(None, "Stop after so many frames. [default: when the process is stopped]")
    gsd: float | None = option(None, "Metres that a pixel covers, to choose the model.", metavar="METRES")
    policy: str | None = policy_option()
    threshold: float | tuple[float, ...] | None = threshold_option()
    top: int = _log(1, "Classes of each frame, the most probable first.")
    max_log_size: int | None = _log(
        None,
        "Begin a new log before it grows beyond this, such as 10M. [default: never]",
        parse=parse_bytes,
        metavar="SIZE",
    )
    keep_logs: int = _log(5, "Older logs to keep, LOG.1 the newest.")
    run: str | None = _command(
        None,
        "Command to run for each frame, without a shell; {source}, {label}, {confidence} and {exit} are replaced.",
        metavar="COMMAND",
    )
    run_timeout: float = _command(30.0, "Time after which the command is killed.", metavar="SECONDS")
    when: tuple[str, ...] | None = _command(
        None, "Run it for these classes, or for unknown. [default: all]", parse=parse_labels, metavar="CLASSES"
    )
    above: float | None = share_option(None, "Run it from this confidence on.", panel="Command")
    below: float | None = share_option(None, "Run it below this confidence.", panel="Command")
    move_to: Path | None = _command(None, "Then move each file to FOLDER/CLASS.", metavar="FOLDER")
    engine: EngineName = engine_option()
    precision: PrecisionName = precision_option()
    threads: int | None = threads_option()
    decode: DecodeOptions = DEFAULT

    def __post_init__(self) -> None:
        if isinstance(self.source, Path):
            object.__setattr__(self, "source", str(self.source))
        if self.bundle is not None and self.source is None and not is_bundle(self.bundle):
            object.__setattr__(self, "source", str(self.bundle))
            object.__setattr__(self, "bundle", None)
        if not self.source:
            raise OptionError(
                "nothing to watch: name a folder or a camera" + f" after {self.bundle}" * bool(self.bundle)
            )
        require(self, ("interval", "run_timeout", "gsd"), lambda value: value > 0, "be above 0")
        require(self, ("settle", "keep_logs"), lambda value: value >= 0, "not be negative")
        require(self, ("top", "frames"), lambda value: value >= 1, "be at least 1")
        if self.bundle is not None and self.gsd is not None:
            raise OptionError(f"--gsd chooses among the built-in models: leave it out, or the bundle {self.bundle}")
        self._require_command()
        if self.camera and self.move_to:
            raise OptionError("--move-to moves files, and a camera has none: leave it out")
        if self.camera and Path(self.source).is_dir():
            raise OptionError(f"{self.source} is a folder and the word for a camera: give its whole path, or camera:0")

    def _require_command(self) -> None:
        limits = [f"--{name}" for name in ("when", "above", "below") if getattr(self, name) is not None]
        if self.run is None and limits:
            raise OptionError(f"{limits[0]} says when a command runs: add --run COMMAND, or leave it out")
        if self.run is not None and not self.words:
            raise OptionError("--run is empty: name a command")

    @property
    def words(self) -> tuple[str, ...]:
        """The command as words, placeholders included; empty without one; raises OptionError: a quote is open."""
        try:
            return tuple(shlex.split(self.run or ""))
        except ValueError as error:
            raise OptionError(f"cannot split --run {self.run!r} into words: {error}") from error

    @property
    def camera(self) -> str | None:
        """The device, where the source is a camera."""
        found = _CAMERA.fullmatch(self.source or "")
        return found and (found[2] or f"/dev/video{found[1] or 0}")
