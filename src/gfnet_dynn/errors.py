"""Every error that a user can cause or meet; each message says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib.util import find_spec
from itertools import takewhile


class GFNetDynnError(Exception):
    """Base of all errors raised on purpose; the command line prints it and exits with status 2."""


class SpecError(GFNetDynnError, ValueError):
    """A description of a network, input or exits that cannot be built."""


class OptionError(GFNetDynnError, ValueError):
    """An option or a field of a request whose value cannot be used."""


class ModelChoiceError(OptionError):
    """No bundle was named, and no built-in model follows from the images.

    Attributes:
        models: names to choose from.
    """

    def __init__(self, message: str, models: tuple[str, ...]) -> None:
        super().__init__(message)
        self.models = models


class ThresholdError(GFNetDynnError, ValueError):
    """Exit thresholds that do not fit the network's exits."""


class CalibrationError(GFNetDynnError):
    """A guarantee that calibration images cannot support, or that makes no sense.

    Attributes:
        precision: without which the images could support the guarantee; None: none.
    """

    def __init__(self, message: str, precision: str | None = None) -> None:
        super().__init__(message)
        self.precision = precision


class DataError(GFNetDynnError):
    """A data set, folder, split or image that cannot be used."""


class ImageError(DataError):
    """One image file that cannot be decoded."""


class DownloadError(DataError):
    """A data set that could not be fetched or whose checksum is wrong."""


class RecipeError(GFNetDynnError):
    """A recipe that cannot be read, or says what nothing understands."""


class CheckpointError(GFNetDynnError):
    """A weights file that is unreadable, unsafe or of another network."""


class BundleError(GFNetDynnError):
    """A bundle that is damaged, unsafe, of another version, or not consistent."""


class HubError(GFNetDynnError):
    """A repository on the Hugging Face Hub that does not exist, refuses access, or holds no bundle."""


class HubConnectionError(HubError):
    """The Hugging Face Hub cannot be reached."""


class ExportError(GFNetDynnError):
    """A network that cannot be exported, or whose export does not give the same answers."""


class EngineError(GFNetDynnError):
    """An inference engine that cannot do what is asked."""


class MeterError(GFNetDynnError):
    """An energy meter that cannot be read, or whose readings do not say what they should."""


class StorageError(GFNetDynnError):
    """A file or folder that cannot be written."""


class BusyError(StorageError):
    """A folder that another process works in."""


class TrainingError(GFNetDynnError):
    """A training run that cannot go on."""


class ReportedElsewhereError(TrainingError):
    """Another process of the same training has ended, or failed and says why: this one ends without a message."""


class MissingExtraError(GFNetDynnError):
    """An optional dependency that is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs packages that are not installed: pip install 'gfnet-dynn[{extra}]'")


_EXTRAS = {
    "geo": ("rasterio",),
    "plots": ("matplotlib",),
    "serve": ("fastapi", "uvicorn", "python_multipart", "prometheus_client"),
    "train": ("torch",),
    "train,export": ("torch", "onnx", "onnxscript", "onnxruntime"),
    "hub": ("huggingface_hub",),
    "parquet": ("pyarrow",),
    "camera": ("av",),
    "cluster": ("ray",),
    "archive": ("pyarrow", "fsspec"),
}


def require_extra(feature: str, extra: str) -> None:
    """Refuse a feature before anything imports the packages that it needs.

    Raises:
        MissingExtraError: one of them is not installed.
    """
    if not has_extra(extra):
        raise MissingExtraError(feature, extra)


def has_extra(extra: str) -> bool:
    """Whether all its packages are installed."""
    return all(find_spec(name) is not None for name in _EXTRAS[extra])


def nearest(word: str, choices: Iterable[str]) -> str:
    """A clause such as ``did you mean 'UCM'?`` that ends an error message; it lists all where none is close."""
    options = sorted(choices)
    spellings = {option.casefold(): option for option in options}
    close = difflib.get_close_matches(word.casefold(), spellings)
    if not close:
        return f"known: {', '.join(options)}"
    # Who mistypes has the beginning right more often than the length.
    best = max(close, key=lambda each: _same_beginning(each, word.casefold()))
    return f"did you mean '{spellings[best]}'? (known: {', '.join(options)})"


def _same_beginning(first: str, second: str) -> int:
    """How many characters both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
