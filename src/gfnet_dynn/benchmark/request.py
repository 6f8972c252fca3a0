"""What to benchmark, on which images, and how often."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from gfnet_dynn.bundle.builtin import HELP, SUFFIX, find_bundle
from gfnet_dynn.errors import OptionError
from gfnet_dynn.hub.address import is_address
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.options import flag, lenient, option, require
from gfnet_dynn.runtime.engine import most_threads

DeviceName = Literal["cpu", "cuda", "mps", "auto"]

_candidate, _measure = partial(option, panel="Candidates"), partial(option, panel="Measurement")
_energy = partial(option, panel="Energy")


def is_bundle(subject: str) -> bool:
    """Whether a candidate's name is that of a bundle; otherwise it runs in torch."""
    return is_address(subject) or find_bundle(subject).suffix == SUFFIX


@dataclass(frozen=True, kw_only=True)
@lenient
class BenchmarkRequest:
    """Options."""

    subject: str = option(
        ...,
        f"Folder of a run, .safetensors file, or named network (fresh weights). {HELP}",
        argument=True,
    )
    images: tuple[Path, ...] = option(
        (),
        "Image files, and folders of them; folders named as classes give the accuracy. Without images, a network in "
        "torch is timed on random ones.",
        argument=True,
    )
    against: tuple[str, ...] = _candidate(
        (),
        "Baseline: a bundle, or efficientnet-lite0, -lite1, -lite2 with ImageNet weights and an untrained classifier "
        "(extras export, teachers); repeatable.",
        metavar="NAME",
    )
    torch: Path | None = _candidate(
        None, "Run of the bundle, measured in torch: with early exits, and as published (all blocks always)."
    )
    engine: tuple[str, ...] = _candidate(
        (), "onnxruntime or openvino, for bundles; repeatable. [default: all installed]", metavar="NAME"
    )
    policy: str | None = _candidate(None, "Exit policy. [default: the subject's default]")
    input_size: int | None = _candidate(
        None, "In torch: side of the input in pixels. [default: 256, or the run's]", rare=True
    )
    pad: bool = _candidate(False, "In torch: pad the input to whole patches.", rare=True)
    num_images: int = _measure(48, "Different images to time.", flag="--images")
    repeats: int = _measure(5, "Rounds over all images and candidates.")
    threads: int = _measure(1, "Processor threads.")
    device: DeviceName = _measure("cpu", "Where torch runs; bundles run on the CPU.")
    seed: int = _measure(0, "Seed of fresh weights and random images.", rare=True)
    energy_seconds: float = _energy(5.0, "Seconds under each energy meter, for each candidate; 0: no energy.")
    meter_csv: Path | None = _energy(None, "Log of an external power meter: columns time_s (Unix time) and power_w.")
    estimate_power_w: float | None = _energy(
        None, "Estimate the energy from this power too; marked as estimated.", rare=True
    )
    decode: DecodeOptions = DEFAULT

    def __post_init__(self) -> None:
        for name in ("num_images", "repeats", "threads"):
            if getattr(self, name) < 1:
                raise OptionError(f"{flag(name.removeprefix('num_'))} must be at least 1, not {getattr(self, name)}")
        if self.threads > most_threads():
            raise OptionError(f"--threads must be at most {most_threads()} on this machine, not {self.threads}")
        require(self, ("energy_seconds", "estimate_power_w"), lambda value: value >= 0, "be at least 0")
        if self.meter_csv is not None and not self.meter_csv.is_file():
            raise OptionError(f"--meter-csv: no file at {self.meter_csv}")
        self._check_subject()

    def _check_subject(self) -> None:
        if is_bundle(self.subject):
            if not self.images:
                raise OptionError(f"{self.subject}: name images or folders of them; the exits taken depend on them")
            if self.input_size is not None or self.pad:
                raise OptionError(f"--input-size, --pad: for networks in torch; {self.subject} has a fixed input")
        elif self.torch is not None:
            raise OptionError(f"--torch: for a bundle ({SUFFIX}); {self.subject} runs in torch anyway")
        elif self.engine and not any(map(is_bundle, self.against)):
            raise OptionError(f"--engine: for a bundle ({SUFFIX}); {self.subject} runs in torch")
