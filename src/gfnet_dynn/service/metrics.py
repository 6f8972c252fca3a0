"""`GET /metrics` for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gfnet_dynn.service.energy import EnergyTotal
from gfnet_dynn.service.registry import Registry

_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_STATES = ("holds", "in doubt", "none")


class Metrics:
    """Times of requests as they are observed, and everything else as it is when it is asked for."""

    def __init__(self, models: Registry, energy: Sequence[EnergyTotal]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "gfnet_dynn_request_seconds",
            "Time from the arrival of a request's headers to its whole answer.",
            ("route", "status"),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._registry.register(_Models(models))
        self._registry.register(_Energy(energy))

    def observe(self, route: str, status: int, seconds: float) -> None:
        """A request has been answered."""
        self._requests.labels(route, str(status)).observe(seconds)

    def text(self) -> bytes:
        """In the format of Prometheus."""
        return generate_latest(self._registry)


class _Energy(Collector):
    """What the device has used."""

    def __init__(self, totals: Sequence[EnergyTotal]) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        joules = CounterMetricFamily(
            "gfnet_dynn_energy_joules",
            "Energy since the start, measured, of all that the meter covers: meters may overlap, never add them up.",
            labels=("meter",),
        )
        for each in self._totals:
            joules.add_metric((each.meter,), each.joules())
        yield joules


class _Models(Collector):
    """What the models of a registry have done."""

    def __init__(self, models: Registry) -> None:
        self._models = models

    def collect(self) -> Iterator[Metric]:
        images = CounterMetricFamily("gfnet_dynn_images", "Images by ending.", labels=("model", "ending"))
        taken = CounterMetricFamily("gfnet_dynn_exits", "Answered images by exit.", labels=("model", "exit"))
        lowered = CounterMetricFamily(
            "gfnet_dynn_lowered", "Answered images that exited earlier than asked.", labels=("model", "by")
        )
        macs = CounterMetricFamily("gfnet_dynn_macs", "Multiply-accumulates, from shapes.", labels=("model",))
        queue = GaugeMetricFamily("gfnet_dynn_queue", "Images that wait or are classified.", labels=("model",))
        evidence = GaugeMetricFamily(
            "gfnet_dynn_promise_evidence",
            "E-value against live images being like the calibration images.",
            labels=("model", "policy"),
        )
        alarm = GaugeMetricFamily(
            "gfnet_dynn_promise_alarm_at", "Evidence that puts the guarantee in doubt.", labels=("model", "policy")
        )
        state = GaugeMetricFamily(
            "gfnet_dynn_promise", "1 for the state of the guarantee.", labels=("model", "policy", "state")
        )
        for served in self._models.models():
            for ending, count in {**served.figures.endings(), "rejected": served.figures.rejected}.items():
                images.add_metric((served.name, ending), count)
            totals = served.figures.totals()
            for exit_, count in zip(served.manifest.exits, totals.exits, strict=True):
                taken.add_metric((served.name, exit_.name), count)
            for cause, count in totals.lowered.items():
                lowered.add_metric((served.name, cause), count)
            pairs = zip(served.manifest.exits, totals.exits, strict=True)
            macs.add_metric((served.name,), float(sum(each.macs * count for each, count in pairs)))
            queue.add_metric((served.name,), served.scheduler.pending)
            for policy, found in served.promises.evidence(served.policies).items():
                evidence.add_metric((served.name, policy), found.evidence)
                alarm.add_metric((served.name, policy), found.alarm_at)
                for each in _STATES:
                    state.add_metric((served.name, policy, each), float(found.status == each))
        yield from (images, taken, lowered, macs, queue, evidence, alarm, state)
