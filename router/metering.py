"""What Prometheus gets to know of a router: its chooser's state, told again and again."""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from typing import Protocol

from router.chooser import Chooser
from router.loop_ticker import LoopTicker
from telemetry import catalogue
from telemetry.engine_metrics import Values
from telemetry.instruments import Framework, Instruments

PERIOD_S = 1.0
_OUTCOMES = catalogue.DECISIONS.labels["outcome"]


class HasChooser(Protocol):
    """A router, as far as this file is concerned."""

    chooser: Chooser


def values_of(chooser: Chooser) -> dict[str, Values]:
    """The values of the router's metrics now; no age where a replica never reported."""
    age_s, counts = chooser.oldest_report_s, chooser.counts
    return {
        # `Chooser.counts` calls them the same in words.
        catalogue.DECISIONS.name: tuple(counts[o.replace("_", " ")] for o in _OUTCOMES),
        catalogue.REPORT_AGE_S.name: (age_s if math.isfinite(age_s) else None,),
        catalogue.LEDGER.name: (len(chooser.ledger),),
        catalogue.LEDGER_AGE_S.name: (chooser.ledger.oldest_age_s(),),
    }


class RouterMetrics:
    """Tells a router's state every second once it runs, also while nobody asks it.

    Args:
        framework: Where the metrics are published.
        tags: Whose they are.
        router: Not kept alive; it ends with it.
        period_s: Seconds between two times.
    """

    def __init__(
        self,
        framework: Framework,
        tags: Mapping[str, str],
        router: HasChooser,
        period_s: float = PERIOD_S,
    ) -> None:
        self._instruments = Instruments(framework, catalogue.ROUTER_METRICS, tags)
        self._router = weakref.ref(router)
        self._ticker = LoopTicker(self.publish, period_s)

    def start(self) -> None:
        """Begin, if there is an event loop and it has not begun yet."""
        self._ticker.start()

    def publish(self) -> None:
        """Tell how things stand."""
        if (router := self._router()) is not None:
            chooser = router.chooser
            self._instruments.publish(str(id(chooser)), values_of(chooser))
