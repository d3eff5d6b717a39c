"""How far a load is, for a Prometheus that looks: the client's side, outside Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry

from bench.client import Progress, ProgressCallback
from bench.errors import UserError
from telemetry import catalogue
from telemetry.instruments import Instruments


class PrometheusFramework:
    """`prometheus_client` in the shape of Ray's metrics.

    Args:
        registry: Where its metrics are collected.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def Counter(  # noqa: N802 - as Ray calls it
        self, name: str, description: str, tag_keys: tuple[str, ...]
    ) -> Any:
        """A counter that takes its labels as a dict."""
        return _Counter(
            prometheus_client.Counter(name, description, tag_keys, registry=self._registry)
        )

    Gauge = Histogram = None


class _Counter:
    def __init__(self, counter: prometheus_client.Counter) -> None:
        self._counter = counter

    def inc(self, amount: float, tags: dict[str, str]) -> None:
        (self._counter.labels(**tags) if tags else self._counter).inc(amount)


def values_of(progress: Progress) -> dict[str, tuple[float, ...]]:
    """The values of the metrics of a run that is so far."""
    failed, refused = progress.failed, progress.refused
    well = progress.finished - failed - refused
    return {
        catalogue.BENCH_REQUESTS.name: (progress.sent, well, failed, refused),
        catalogue.BENCH_TOKENS.name: (progress.tokens,),
    }


@contextmanager
def exposed(port: int | None, shown: ProgressCallback | None) -> Iterator[Any]:
    """For the time of a run: a callback that also keeps a metrics page up to date.

    Args:
        port: Of the loopback interface; None for no page.
        shown: What else wants to know of the progress.

    Raises:
        UserError: The port is in use.
    """
    if port is None:
        yield shown
        return
    registry = CollectorRegistry()
    instruments = Instruments(PrometheusFramework(registry), catalogue.BENCH_METRICS)

    def told(progress: Progress) -> None:
        instruments.publish("", values_of(progress))
        if shown is not None:
            shown(progress)

    try:
        server, thread = prometheus_client.start_http_server(port, "127.0.0.1", registry)
    except OSError as error:
        raise UserError(f"--metrics-port {port}: {error.strerror}.") from error
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
