"""What an evaluation found, as tables, JSON values and plots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.display import printable
from gfnet_dynn.errors import DataError
from gfnet_dynn.evaluation.evaluation import Evaluator, ExitTimes, Mistake, PolicyResult, Subject, class_scores
from gfnet_dynn.exits import NEVER, Score
from gfnet_dynn.reporting.plot import draw_accuracies, new_figure
from gfnet_dynn.reporting.table import Plotted, Table, number
from gfnet_dynn.uncertainty.intervals import PairedDifference, Proportion
from gfnet_dynn.units import percent, points

DEFINITIONS = {
    "images": "number of images of the data, of those timed under `latency`, or of the class",
    "input_px": "side of the network's input in pixels, padding included",
    "parameters": "number of weights, all exits included; null: not known",
    "macs": "multiply-accumulates for one image up to the exit, its head and gate and the earlier ones included; "
    "counted from shapes: convolutions, linear maps and filters with their transforms. FLOPs are twice as many",
    "latency_ms": "mean over the timed images, in milliseconds: of the time up to the exit, or up to the exit taken; "
    "measured as `latency` describes",
    "threads": "of the engine that was timed",
    "batch": "images at once while timing",
    "repeats": "rounds of timing; for each image the median over them counts",
    "thresholds": "confidence score of each early exit from which an image takes it; null: none does",
    "accuracy": "top-1, 0 to 1: of the policy, of an exit over all images, or of a class; measured",
    "accuracy_interval": "95% confidence interval of the accuracy (Wilson)",
    "macro_f1": "unweighted mean of the F1 of the classes that occur, 0 to 1; measured",
    "exit_shares": "part of the images that takes each exit, 0 to 1; measured",
    "exit_accuracy": "top-1 of the images that take each exit; null where none does; measured",
    "mean_macs": "mean over the images of the MACs up to the exit taken",
    "macs_share": "mean_macs as a share of the full network's MACs",
    "difference": "accuracy of the policy less that of the full network on the same images, -1 to 1; measured",
    "difference_interval": "95% confidence interval of the difference (Tango)",
    "precision": "of the images predicted as the class, the share that is correct; 0 where none is predicted; measured",
    "f1": "harmonic mean of precision and accuracy (recall) of the class, 0 to 1; measured",
    "confusion": "counts of images; rows: true class, columns: predicted class; measured",
    "confidence": "softmax probability of the predicted class, 0 to 1",
}


_SCORES = {"gate": ("learned gates, thresholds swept", "o-", "C0"), "max-softmax": ("max-softmax, swept", "^:", "C2")}


@dataclass(frozen=True)
class EvaluationResult(Plotted):
    """A network judged on images that nothing was chosen on."""

    subject: Subject
    images: int
    exit_accuracy: tuple[Proportion, ...]  # top-1 of each exit if all images took it, [G + 1]
    policies: Mapping[str, PolicyResult]  # by name; the default first
    differences: Mapping[str, PairedDifference]  # accuracy of each less that of the full network
    sweeps: Mapping[Score, tuple[PolicyResult, ...]] = field(default_factory=dict)  # thresholds; empty for a bundle
    times: ExitTimes | None = None
    mistakes: tuple[Mistake, ...] = ()  # of the default policy, the most confident first
    remarks: tuple[str, ...] = ()
    unreadable: tuple[DataError, ...] = ()  # one error for each image that was omitted
    files: tuple[Path, ...] = ()  # that were written

    @classmethod
    def of(
        cls, evaluator: Evaluator, policies: Iterable[Policy], files: Sequence[Path], mistakes: int = 24, **more: Any
    ) -> EvaluationResult:
        """Judge policies, the default first and `full` among them, and keep so many mistakes of the default."""
        found = {each.name: evaluator.judge(each) for each in policies}
        return cls(
            subject=evaluator.subject,
            images=len(evaluator.arrays.labels),
            exit_accuracy=evaluator.exit_accuracies(),
            policies=found,
            differences={name: evaluator.compare(each, found["full"]) for name, each in found.items()},
            times=evaluator.times,
            mistakes=evaluator.mistakes(next(iter(found.values())), files, mistakes),
            **more,
        )

    @property
    def default(self) -> PolicyResult:
        """The result of the default policy."""
        return next(iter(self.policies.values()))

    @property
    def title(self) -> str:
        """Network, data and number of images, for tables and plots."""
        subject = self.subject
        data = " ".join(filter(None, (subject.data_set, subject.part)))
        return f"{subject.model}, {subject.input.size} px, {subject.run_in}; {data}, n = {self.images}"

    @property
    def _exit_times(self) -> list[float | None]:
        """Mean milliseconds up to each exit, [G + 1]."""
        return self.times.milliseconds.mean(axis=0).tolist() if self.times else [None] * len(self.subject.exits)

    def tables(self) -> Sequence[Table]:
        """Policies, thresholds of the learned gates, exits, classes."""
        swept = [self._sweep_table(results) for results in [self.sweeps.get("gate", ())] if len(results) > 1]
        return [self._policy_table(), *swept, self._exit_table(), self._class_table()]

    def _policy_table(self) -> Table:
        rows = tuple(
            (
                name,
                str(each.accuracy),
                percent(each.macro_f1, 1),
                _macs(each),
                number(each.latency_ms),
                "–" if name == "full" else difference_text(self.differences[name]),
            )
            for name, each in self.policies.items()
        )
        headings = ("policy", "accuracy (95%)", "macro F1", "M MACs", "ms", "against full (95%)")
        return Table(self.title, headings, rows).without_empty_columns()

    def _sweep_table(self, results: Sequence[PolicyResult]) -> Table:
        rows = tuple(
            (
                threshold_text(each.policy.thresholds),
                str(each.accuracy),
                _macs(each),
                number(each.latency_ms),
                " ".join(f"{100 * share:.0f}" for share in each.point.shares),
            )
            for each in results
        )
        headings = ("threshold", "accuracy (95%)", "M MACs", "ms", "% of images at each exit")
        return Table("Thresholds of the learned gates", headings, rows).without_empty_columns()

    def _exit_table(self) -> Table:
        result = self.default
        rows = tuple(
            (
                name,
                f"{self.subject.exit_macs[index] / 1e6:.1f}",
                number(self._exit_times[index]),
                str(self.exit_accuracy[index]),
                percent(result.point.shares[index], 1),
                str(result.exit_accuracy[index] or "–"),
            )
            for index, name in enumerate(self.subject.exits)
        )
        headings = ("exit", "M MACs", "ms", "accuracy, all images", "share", "accuracy of those exiting")
        return Table(f"Exits, policy {result.policy.name}", headings, rows).without_empty_columns()

    def _class_table(self) -> Table:
        result, names = self.default, self.subject.classes
        rows = []
        for index, counts in enumerate(result.confusion):
            if n := int(counts.sum()):
                others = counts.copy()
                others[index] = 0
                worst = int(others.argmax())
                confused = f"{names[worst]} ({others[worst]})" if others[worst] else "–"
                hits = np.arange(n) < counts[index]
                rows.append((names[index], str(n), str(Proportion.of(hits)), confused))
        headings = ("class", "n", "accuracy (95%)", "most confused with")
        return Table(f"Classes, policy {result.policy.name}", headings, tuple(rows))

    def notes(self) -> Sequence[str]:
        """How the numbers were obtained, and what limits them."""
        found = ["Accuracy, F1 and shares are measured on these images; MACs are counted from shapes."]
        found += [f"Policy {name}: {each.policy.source}." for name, each in self.policies.items()]
        if self.times:
            setting = self.times.setting
            found.append(
                f"Latency: measured on {setting['images']} of the images, batch 1, median of {setting['repeats']} "
                f"rounds, {setting['engine']}, threads {setting['threads']}, {setting['device']}; {setting['scope']}."
            )
        return [*found, *self.remarks]

    def draw(self) -> Any:
        """Accuracy with 95% intervals against mean MACs: each exit, the policies, and the sweeps if there are any."""
        figure = new_figure(6.8, 5.4)
        axes = figure.subplots()
        exit_mmacs = [macs / 1e6 for macs in self.subject.exit_macs]
        draw_accuracies(axes, exit_mmacs, self.exit_accuracy, "s--", color="0.55", label="all images at one exit")
        for score, swept in self.sweeps.items():
            label, style, colour = _SCORES[score]
            rising = sorted(swept, key=lambda each: each.mean_macs)
            mmacs, accuracies = [each.mean_macs / 1e6 for each in rising], [each.accuracy for each in rising]
            draw_accuracies(axes, mmacs, accuracies, style, color=colour, label=label)
        for index, (name, each) in enumerate(self.policies.items()):
            label = f"policy {name}"
            colour = f"C{(3 + index) % 10}"
            draw_accuracies(
                axes, [each.mean_macs / 1e6], [each.accuracy], "*", color=colour, label=label, markersize=13, zorder=3
            )
        axes.set(xlabel="mean MACs of an image (millions, counted)", ylabel="top-1 accuracy (%), 95% interval")
        figure.suptitle(self.title, fontsize=10, wrap=True)
        axes.grid(alpha=0.3)
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)
        return figure

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, with the definition of each number."""
        subject, times = self.subject, self.times
        exits = zip(subject.exits, subject.exit_macs, self.exit_accuracy, self._exit_times, strict=True)
        return {
            "definitions": DEFINITIONS,
            "data": {"data_set": subject.data_set, "part": subject.part, "images": self.images},
            "network": {
                "model": subject.model,
                "parameters": subject.parameters,
                "input_px": subject.input.size,
                "run_in": subject.run_in,
                "exits": [
                    {"name": name, "macs": macs, **_accuracy(accuracy), "latency_ms": milliseconds}
                    for name, macs, accuracy, milliseconds in exits
                ],
            },
            "latency": dict(times.setting) if times else None,
            "policies": {name: self._detailed(name, each) for name, each in self.policies.items()},
            "sweeps": {score: [describe_policy(each) for each in results] for score, results in self.sweeps.items()},
            "mistakes": [{**asdict(each), "file": printable(each.file)} for each in self.mistakes],
            "remarks": [*self.remarks, *map(str, self.unreadable)],
        }

    def _detailed(self, name: str, result: PolicyResult) -> dict[str, Any]:
        difference, scores = self.differences[name], class_scores(result.confusion)
        classes = {
            label: {
                "images": int(scores.support[index]),
                "accuracy": float(scores.recall[index]) if scores.support[index] else None,
                "precision": float(scores.precision[index]),
                "f1": float(scores.f1[index]),
            }
            for index, label in enumerate(self.subject.classes)
        }
        return {
            **describe_policy(result),
            "score": result.policy.score,
            "source": result.policy.source,
            "difference": difference.difference,
            "difference_interval": [difference.low, difference.high],
            "classes": classes,
            "confusion": result.confusion.tolist(),
        }


def difference_text(difference: PairedDifference) -> str:
    """`-0.4 pp (-1.2 to +0.3)`."""
    return f"{points(difference.difference)} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"


def threshold_text(thresholds: Sequence[float]) -> str:
    """The first threshold, which a sweep has at every exit."""
    first = thresholds[0] if thresholds else NEVER
    return f"{first:g}" if math.isfinite(first) else "never"


def _macs(result: PolicyResult) -> str:
    return f"{result.mean_macs / 1e6:.1f} ({percent(result.point.mean_cost, 0)})"


def _accuracy(value: Proportion) -> dict[str, Any]:
    return {"accuracy": value.value, "accuracy_interval": [value.low, value.high]}


def describe_policy(result: PolicyResult) -> dict[str, Any]:
    """Its figures as JSON values; null for what is not finite or not measured."""
    return {
        "thresholds": [value if math.isfinite(value) else None for value in result.policy.thresholds],
        **_accuracy(result.accuracy),
        "macro_f1": result.macro_f1,
        "exit_shares": list(result.point.shares),
        "exit_accuracy": [each and each.value for each in result.exit_accuracy],
        "mean_macs": result.mean_macs,
        "macs_share": result.point.mean_cost,
        "latency_ms": result.latency_ms,
    }
