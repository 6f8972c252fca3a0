"""What to calibrate for, and what to monitor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal
from unicodedata import category

from gfnet_dynn.bundle.builtin import bundle_argument
from gfnet_dynn.bundle.manifest import FULL, OWN, Manifest
from gfnet_dynn.errors import OptionError
from gfnet_dynn.exits import Score
from gfnet_dynn.guarantees.control import COUNTING, ZERO_OR_ONE, Method, RiskTarget, default_method
from gfnet_dynn.guarantees.risk import RiskName
from gfnet_dynn.images.options import DEFAULT, DecodeOptions
from gfnet_dynn.options import flag, lenient, option, require
from gfnet_dynn.reporting.plot import FORMATS
from gfnet_dynn.runtime.request import EngineName, PrecisionName, engine_option, threads_option
from gfnet_dynn.units import percent, share_option

Quantity = Literal["macs", "latency", "energy"]

RISK_LIMIT, CONFIDENCE = 0.01, 0.95
_UNPRINTABLE = ("Cc", "Cs")  # with one of these in its name, the bundle could not be read again
_ENGINE = "Engine"
_risk, _budget = partial(option, None, panel="Risk"), partial(option, None, panel="Budget")
_policy, _file = partial(option, panel="Exit policy"), partial(option, None, panel="Output", metavar="FILE")


@dataclass(frozen=True, kw_only=True)
@lenient
class CalibrationRequest:
    """Options."""

    bundle: Path = bundle_argument()
    images: Path = option(
        ...,
        "Folder with a folder of images for each class, none of them trained or selected on; for --risk disagreement "
        "and for budgets also a folder of images without labels; or outputs kept by --outputs.",
        argument=True,
    )
    risk: RiskName | None = _risk(
        "Risk to limit, against the fp32 full network: accuracy-drop; harmful-exits, images that it classifies "
        "correctly and the exit wrongly; disagreement, images of another class; or absolute: error, brier."
    )
    risk_limit: float | None = share_option(None, "Limit of the risk. [default: 1%]", panel="Risk")
    confidence: float | None = share_option(None, "Confidence level of the guarantee. [default: 95%]", panel="Risk")
    method: Method | None = _risk(
        "exact, betting, hoeffding-bentkus: with the confidence level; conformal: in expectation; naive: no guarantee. "
        "[default: exact where the risk counts images, else betting]"
    )
    max_ms: float | None = _budget("Largest mean end-to-end latency; needs --benchmark.", metavar="MS")
    p99_ms: float | None = _budget("Largest 99th percentile of the latency; needs --benchmark.", metavar="MS")
    max_mj: float | None = _budget("Largest mean energy of an image; needs --benchmark.", metavar="MJ")
    max_mmacs: float | None = _budget("Largest mean number of MACs, in millions.", metavar="MILLIONS")
    benchmark: Path | None = _budget("JSON of `gfnet-dynn benchmark --json` on the device.", metavar="FILE")
    precision: PrecisionName = option(
        "auto", "Precision whose latency or energy is limited; auto: as `classify` takes it.", panel="Budget"
    )
    score: Score = _policy("gate", "Confidence score that is compared with the thresholds.")
    per_exit: bool = _policy(
        False, "A threshold for each exit, instead of one for all; with a risk, where that costs less."
    )
    coverage: float | None = share_option(
        None, "Add prediction sets with this coverage, such as 90%.", panel="Exit policy"
    )
    false_alarms: float | None = share_option(
        None,
        'Answer "unknown" for out-of-distribution images, with this false-alarm rate, such as 1%.',
        panel="Exit policy",
    )
    unknown_by: Literal["both", "distance"] = _policy(
        "both",
        "What makes an image unknown: its distance from the training images, or also logits unlike those of the "
        "calibration images; for the distance alone no images are set apart.",
        rare=True,
    )
    all_precisions: bool = _policy(
        False, "Cover every precision of the bundle, not only those that `classify` takes by default.", rare=True
    )
    name: str = _policy("calibrated", "Name of the policy; replaces an older one of that name.")
    output: Path | None = _file("Bundle to write. [default: the bundle itself]", short="-o")
    report: Path | None = _file("Write all figures as JSON.")
    plot: Path | None = _file("Draw the reliability of each exit (.png, .svg, .pdf).")
    outputs: Path | None = _file("Keep the outputs of all exits (.npz), for further policies.")
    engine: EngineName = engine_option()
    threads: int | None = threads_option()
    seed: int = _policy(0, "Seed of the division of the images.", rare=True)
    decode: DecodeOptions = DEFAULT

    def __post_init__(self) -> None:
        target = self.target
        self._check_budget()
        if target is None and self.budget_option is None and self.p99_ms is None:
            raise OptionError("nothing to calibrate for: give --risk or a budget, such as --max-mmacs")
        if self.per_exit and target and (target.method not in COUNTING or target.risk not in ZERO_OR_ONE):
            # The level that a test by counting cannot use pays for the second test; others leave nothing.
            raise OptionError(
                f"--per-exit with --risk needs --method {' or '.join(COUNTING)} and --risk {', '.join(ZERO_OR_ONE)}, "
                f"not {target.method} for {target.risk}"
            )
        require(self, ("name",), _can_be_stored, f"be printable and neither {FULL!r} nor {OWN!r}")
        for name in ("coverage", "false_alarms"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise OptionError(f"{flag(name)} must be above 0% and below 100%, not {percent(value)}")
        if self.unknown_by != "both" and self.false_alarms is None:
            raise OptionError(f"--unknown-by {self.unknown_by} without --false-alarms: give the rate")
        require(self, ("threads",), lambda count: count >= 1, "be at least 1")
        require(self, ("seed",), lambda seed: seed >= 0, "be at least 0")
        if self.plot and self.plot.suffix.lower() not in FORMATS:
            raise OptionError(f"--plot must end in {', '.join(FORMATS)}, not {self.plot.name}")

    @property
    def target(self) -> RiskTarget | None:
        """The risk to limit; None: none.

        Raises:
            OptionError: limit, level or method without a risk, or out of range.
        """
        if self.risk is None:
            idle = [name for name in ("risk_limit", "confidence", "method") if getattr(self, name) is not None]
            if idle:
                raise OptionError(f"{' and '.join(map(flag, idle))} without --risk: name the risk")
            return None
        return RiskTarget(
            self.risk,
            RISK_LIMIT if self.risk_limit is None else self.risk_limit,
            CONFIDENCE if self.confidence is None else self.confidence,
            self.method or default_method(self.risk),
        )

    @property
    def budget_option(self) -> str | None:
        """Field of the limit of the mean cost; None: none."""
        return next((name for name in ("max_ms", "max_mj", "max_mmacs") if getattr(self, name) is not None), None)

    @property
    def budget(self) -> float | None:
        """Limit of the mean cost, in the unit of its option."""
        return next((limit for limit in (self.max_ms, self.max_mj, self.max_mmacs) if limit is not None), None)

    @property
    def quantity(self) -> Quantity:
        """The cost that is limited, or else minimised."""
        if self.max_mj is not None:
            return "energy"
        return "latency" if self.benchmark is not None and self.max_mmacs is None else "macs"

    @property
    def needs_labels(self) -> bool:
        """Whether images without labels are not enough."""
        return self.risk not in (None, "disagreement") or self.coverage is not None or self.score == "neighbours"

    def covered(self, manifest: Manifest) -> tuple[str, ...]:
        """Precisions that the policy is valid in: those of `auto`, the one whose cost is limited, or all."""
        automatic = (*manifest.auto_precisions, self.precision)
        return tuple(name for name in manifest.precisions if self.all_precisions or name in automatic)

    def _check_budget(self) -> None:
        given = [name for name in ("max_ms", "max_mj", "max_mmacs", "p99_ms") if getattr(self, name) is not None]
        require(self, given, lambda limit: 0 < limit < math.inf, "be a positive number")
        if len(given) > 1 and given != ["max_ms", "p99_ms"]:
            raise OptionError(f"one kind of budget at a time, not {' and '.join(map(flag, given))}")
        if given not in ([], ["max_mmacs"]) and self.benchmark is None:
            raise OptionError(
                f"{flag(given[0])} needs --benchmark FILE, measured on the device by `gfnet-dynn benchmark BUNDLE "
                "IMAGES --json FILE`"
            )


@dataclass(frozen=True, kw_only=True)
@lenient
class MonitorRequest:
    """Options."""

    bundle: Path = bundle_argument()
    images: tuple[Path, ...] = option(
        ...,
        "Images and folders of them, without labels; or logs written by `gfnet-dynn classify --format json`.",
        argument=True,
    )
    policy: str | None = option(None, "Exit policy of the bundle. [default: the bundle's default]")
    significance_level: float = share_option(0.01, "Probability of reporting a shift where there is none.")
    seed: int = option(0, "Seed of the permutations.", rare=True)
    engine: EngineName = engine_option()
    precision: PrecisionName = option("auto", "As for `classify`; auto: that of the logs.", panel=_ENGINE)
    threads: int | None = threads_option()
    decode: DecodeOptions = DEFAULT

    def __post_init__(self) -> None:
        require(self, ("threads",), lambda count: count >= 1, "be at least 1")
        require(self, ("seed",), lambda seed: seed >= 0, "be at least 0")


def _can_be_stored(name: str) -> bool:
    unprintable = any(category(each) in _UNPRINTABLE for each in name)
    return bool(name.strip()) and name not in (FULL, OWN) and not unprintable
