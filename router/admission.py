"""When a stream that would rather be refused than served badly is refused."""

from __future__ import annotations

from typing import NamedTuple

from router.cost import Ask
from router.ranking import Ranking
from router.settings import RouterSettings

# Of the time until a reader wants the first token, this much may be spent on waiting.
HOLD_SHARE = 0.25


class Shed(NamedTuple):
    """The stream would rather be refused: it may come again after so many seconds."""

    retry_after_s: float


class Hold(NamedTuple):
    """No replica is good enough now: ask again after so many seconds, once."""

    wait_s: float


def refusal(
    ranking: Ranking, ask: Ask, settings: RouterSettings, *, may_hold: bool
) -> Hold | Shed | None:
    """Whether the stream should wait for news, or go away; None to place it.

    It goes away where even the best replica gives it little, or where it would take more
    from others than it gets itself.
    """
    best, weight = ranking.order[0], ask.expectation.weight
    own, marginal_loss = (
        float(ranking.costs.own[best]),
        float(ranking.costs.marginal_loss[best]),
    )
    wait_s = min(HOLD_SHARE * ask.expectation.ttft_s, settings.max_hold_s)
    if may_hold and wait_s > 0.0 and own + marginal_loss > settings.hold_cost * weight:
        return Hold(wait_s)
    value = weight - own
    if value < settings.min_value * weight or marginal_loss > value:
        return Shed(settings.retry_after_s)
    return None
