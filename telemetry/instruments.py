"""Metrics of the catalogue in whatever framework publishes them, fed with state.

Ray's metrics and those of a test have the same shape; the caller says which.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from telemetry.catalogue import Metric
from telemetry.engine_metrics import Values

Tags = dict[str, str]

# A counter that appears with its first event hides it from `rate()`, and frameworks refuse
# to add nothing: this begins it, and any sum with it is the sum without.
ALMOST_NOTHING = 1e-300


class Framework(Protocol):
    """What `ray.util.metrics` and `ray.serve.metrics` have in common."""

    @property
    def Counter(self) -> Any:  # noqa: N802 - as Ray calls it
        """Class of totals."""

    @property
    def Gauge(self) -> Any:  # noqa: N802
        """Class of present values."""

    @property
    def Histogram(self) -> Any:  # noqa: N802
        """Class of distributions."""


class Instruments:
    """The metrics of one process.

    Totals are told as they stand: what is new since the last time is added, so that a
    state which was never seen loses nothing.

    Args:
        framework: Where they are published.
        metrics: Which ones.
        tags: Labels that all of them carry.

    Raises:
        ValueError: The framework refuses a name or a label.
    """

    def __init__(
        self,
        framework: Framework,
        metrics: Iterable[Metric],
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._metrics = tuple(metrics)
        tags = dict(tags or {})
        self._published = {m.name: _instrument(framework, m, tags) for m in self._metrics}
        self._told: dict[str, Values] = {}
        self._epoch = ""
        self._has_begun = False

    def publish(
        self,
        epoch: str,
        values: Mapping[str, Values],
        info: Mapping[str, str] | None = None,
    ) -> None:
        """Bring every metric up to date, gauges even where nothing has changed.

        Args:
            epoch: Whose totals these are; a new one's begin at 0.
            values: By name of the metric, in the order of `Metric.tags`.
            info: Labels of the metric of kind info, if there is one.
        """
        if not self._has_begun:
            self._begin()
        if epoch != self._epoch:
            self._epoch, self._told = epoch, {}
        for metric in self._metrics:
            instrument = self._published[metric.name]
            if metric.kind == "info":
                instrument.set(1.0, tags=dict(info or {}))
            elif metric.name in values:
                self._set(metric, instrument, values[metric.name])

    def _begin(self) -> None:
        self._has_begun = True
        for metric in self._metrics:
            if metric.kind == "counter":
                for tags in metric.tags:
                    self._published[metric.name].inc(ALMOST_NOTHING, tags=tags)

    def _set(self, metric: Metric, instrument: Any, values: Values) -> None:
        if metric.kind == "gauge":
            for tags, value in zip(metric.tags, values, strict=True):
                if value is not None:
                    instrument.set(value, tags=tags)
            return
        told = self._told.get(metric.name, (0,) * len(values))
        self._told[metric.name] = values
        news = [(new or 0) - (old or 0) for new, old in zip(values, told, strict=True)]
        if metric.kind == "counter":
            _add(metric, instrument, news)
        else:
            _observe(metric, instrument, news)


def _add(metric: Metric, instrument: Any, news: list[float]) -> None:
    for tags, amount in zip(metric.tags, news, strict=True):
        if amount > 0:
            instrument.inc(amount, tags=tags)


def _observe(metric: Metric, instrument: Any, news: list[float]) -> None:
    """Observe the upper edge of a bucket as often as there is something new in it."""
    edges = (*metric.bounds, metric.bounds[-1])
    for row, tags in enumerate(metric.tags):
        of_tags = news[row * len(edges) : (row + 1) * len(edges)]
        for edge, count in zip(edges, of_tags, strict=True):
            for _ in range(int(count)):
                instrument.observe(edge, tags=tags)


def _instrument(framework: Framework, metric: Metric, tags: Tags) -> Any:
    common = {"description": metric.description, "tag_keys": (*tags, *metric.labels)}
    if metric.kind == "histogram":
        made = framework.Histogram(metric.name, boundaries=[*metric.bounds], **common)
    elif metric.kind == "counter":
        made = framework.Counter(metric.name, **common)
    else:
        made = framework.Gauge(metric.name, **common)
    if tags:
        made.set_default_tags(dict(tags))
    return made
