"""Command-line options from frozen dataclasses: one place says name, type, default and help of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints

import typer

from gfnet_dynn.errors import DataError, SpecError
from gfnet_dynn.images.decode import MAX_PIXELS
from gfnet_dynn.spec.backbone import BACKBONES, BackboneSpec, ExitPooling
from gfnet_dynn.train.config.training import flag

MaxPixels = Annotated[
    int,
    typer.Option(help="Most pixels decoded of one image; a large JPEG is decoded at a part of its size.", min=1),
]
Stretch = Annotated[
    tuple[float, float] | None,
    typer.Option(
        metavar="LOW HIGH",
        help="Sample values that are black and white, for images of more than 8 bit, such as 0 2047 for 11 bit.",
    ),
]

SPELLINGS = {"token_normalize_func": lambda token: token.replace("_", "-")}
"""Context settings with which every option is understood with hyphens and with underscores."""

DEFAULT_MODEL = "gfnet-192x12"


def option(default: Any, explanation: str) -> Any:
    """A dataclass field that becomes an option; the default `...` makes it required."""
    metadata = {"help": explanation}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which images."""

    data_set: str = option(..., "Name of the data set, in any case; `gfnet-dynn data list` shows them.")
    data_path: Path | None = option(None, "Folder of the data set. (default: the data set's own)")
    dataset_config: Path | None = option(None, "TOML file that describes further data sets.")
    input_size: int | None = option(None, "Side of the input in pixels. (default: the data set's)")
    pad: bool = option(False, "Pad the input to whole patches by reflection.")
    split_ratio: float = option(0.8, "Share of a random-split data set that is trained on, selection included.")
    selection_share: float = option(0.1, "Share of the training images held out to choose epochs and thresholds on.")
    split_seed: int = option(0, "Seed of the split.")
    on_bad_image: Literal["refuse", "skip"] = option("refuse", "What to do with files that cannot be decoded.")
    max_pixels: int = option(MAX_PIXELS, "Most pixels decoded of one image.")
    stretch: tuple[float, float] | None = option(
        None, "Sample values LOW HIGH that are black and white, for images of more than 8 bit. (default: the run's)"
    )

    def __post_init__(self) -> None:
        if not self.data_set:
            raise DataError("which data set? Give --data-set, or a recipe that names one")


@dataclass(frozen=True, kw_only=True)
class NetOptions:
    """Which network."""

    model: str | None = option(
        None, f"One of {', '.join(BACKBONES)}. (default: the checkpoint's, else {DEFAULT_MODEL})"
    )
    exits: str | None = option(
        None,
        "Blocks after which exits stand, counted from 0, such as 3,5,7,9; none for a plain network. (default: the "
        "checkpoint's, else the model's own, see `gfnet-dynn cost`)",
    )
    exit_pooling: ExitPooling | None = option(
        None,
        "What early exits see of the features: their mean over all positions, or that and their standard deviation. "
        "(default: the checkpoint's, else mean-deviation for convolutional trunks and mean, as published, for others)",
    )
    checkpoint_path: Path | None = option(None, "Weights: a .pth, a .safetensors, or the folder of a run.")
    pretrained: bool = option(True, "Without a checkpoint, start convolutional trunks from ImageNet weights.")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How the run is kept."""

    resume: bool = option(False, "Go on with the interrupted run of the same settings.")
    new_head: bool = option(False, "With --checkpoint-path of other classes: keep its backbone, train new classifiers.")
    output: Path = option(Path("checkpoint"), "Folder of runs and splits.")
    tensorboard: bool = option(True, "Write metrics for TensorBoard beside the JSON lines.")
    mlflow: bool = option(False, "Log to MLflow too.")
    evaluate: bool = option(False, "Evaluate the result at the end.")
    threads: int | None = option(None, "Processor threads. (default: torch's choice)")


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How to evaluate."""

    report: Path | None = option(None, "Folder of the report. (default: `evaluation` beside the checkpoint)")
    latency_images: int = option(48, "Images to time at batch 1; 0 leaves timing out.")
    latency_repeats: int = option(3, "Rounds of timing; the median over them counts.")

    def __post_init__(self) -> None:
        if self.latency_images < 0 or self.latency_repeats < 1:
            raise SpecError("--latency-images must be 0 or more and --latency-repeats 1 or more")


def parse_exits(text: str | None, backbone: BackboneSpec) -> tuple[int, ...]:
    """`3,5,7` → (3, 5, 7), `none` → (), None → the backbone's own.

    Raises:
        SpecError: not a list of whole numbers.
    """
    if text is None:
        return backbone.default_exits
    if text.strip().casefold() == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise SpecError(f"--exits takes block indices such as 3,5,7,9, not {text!r}") from error


def path(text: str | Path) -> Path:
    """Reads the path that an option takes; an empty one, as of an unset shell variable, would be the working folder."""
    if text == "":
        raise typer.BadParameter("it is empty: name a file or folder ('.' is the working folder)")
    return Path(text)


Preset = Mapping[type, Mapping[str, Any]]
"""For each group of options the values that replace its defaults, by field name."""


def with_options(
    *kinds: type, recipe: Callable[[Path], Preset] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a typer command of a function that takes one instance of each of `kinds`, in order.

    The instances are built, and so checked, before the function runs.

    Args:
        kinds: groups of options.
        recipe: reads a recipe, which the command then takes as its argument; what the command line says comes first.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def command(context: typer.Context, **values: Any) -> None:
            file = values.pop(_RECIPE.name, None)
            preset = recipe(file) if recipe and file else {}

            def value(kind: type, name: str) -> Any:
                source = context.get_parameter_source(name)
                said = source is not None and source.name != "DEFAULT"
                return values[name] if said else preset.get(kind, {}).get(name, values[name])

            function(*(kind(**{f.name: value(kind, f.name) for f in fields(kind)}) for kind in kinds))

        parameters = [_CONTEXT, *([_RECIPE] if recipe else [])]
        parameters += [_parameter(kind, each, required=recipe is None) for kind in kinds for each in fields(kind)]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # read by typer
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        command.__doc__, command.__name__ = function.__doc__, function.__name__
        return command

    return decorate


_CONTEXT = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
_RECIPE = inspect.Parameter(
    "recipe",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[Path | None, typer.Argument(help="TOML file with the options that follow.", parser=path)],
)


def _parameter(kind: type, each: Field[Any], *, required: bool) -> inspect.Parameter:
    hint = get_type_hints(kind)[each.name]
    name = flag(each.name)
    flags = f"{name}/--no-{name[2:]}" if hint is bool else name  # a recipe's yes can be taken back
    panel = (kind.__doc__ or "").split(";")[0].rstrip(".")
    parser = path if Path in (hint, *get_args(hint)) else None
    declared = typer.Option(flags, help=each.metadata["help"], rich_help_panel=panel, parser=parser)
    missing = inspect.Parameter.empty if required else None  # a recipe may bring it
    default = missing if each.default is MISSING else each.default
    hint = hint if required or each.default is not MISSING else hint | None
    return inspect.Parameter(
        each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hint, declared]
    )
