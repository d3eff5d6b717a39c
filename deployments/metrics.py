"""A replica's part in Prometheus: what its engine counts becomes Ray's metrics.

The engine is a process of its own, and what it told Ray itself would be lost.
"""

from __future__ import annotations

from collections.abc import Callable

from telemetry.catalogue import ENGINE_METRICS, REFUSED
from telemetry.channel import new_endpoint
from telemetry.engine_metrics import MetricsReceiver
from telemetry.instruments import Framework, Instruments
from telemetry.ticker import Ticker

# Ray forgets a gauge that nobody has set for two of its export periods, 20 s by default.
PERIOD_S = 1.0


class ReplicaMetrics:
    """Tells what the engine said last, every second, also while it has nothing to say.

    When the replica dies its gauges go within Ray's two export periods.

    Args:
        framework: Where the metrics are published: `ray.serve.metrics` in a replica.
        period_s: Seconds between two times.

    Attributes:
        engine_endpoint: Where the engine must send its metrics.
        num_refused: How many requests did not come as far as the engine, which was full.
    """

    num_refused: Callable[[], int] = staticmethod(lambda: 0)

    def __init__(self, framework: Framework, period_s: float = PERIOD_S) -> None:
        self.engine_endpoint = new_endpoint()
        self._instruments = Instruments(framework, ENGINE_METRICS)
        self._receiver = MetricsReceiver(self.engine_endpoint)
        self._ticker = Ticker("andes-metrics", self.publish, period_s)

    def publish(self) -> None:
        """Tell what the engine said last."""
        metrics = self._receiver.latest()
        if metrics is not None:
            values = dict(metrics.values)
            in_vain, _ = values.get(REFUSED.name, (0.0, 0.0))
            values[REFUSED.name] = (in_vain, self.num_refused())
            self._instruments.publish(metrics.epoch, values, metrics.info)

    def close(self) -> None:
        """Free the endpoint; a second call does nothing."""
        self._ticker.close()
        self._receiver.close()
