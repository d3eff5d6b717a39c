"""What a replica's word is worth, judged by what it says itself and by nothing else."""

from __future__ import annotations

import math
from enum import IntEnum
from typing import NamedTuple

from router.report_book import Known

# Serve polls a replica's stats once a second, and takes up to another one to pass them on.
SERVE_DELAY_S = 2.0


class Standing(IntEnum):
    """The best that are there get the streams; the others get none.

    Attributes:
        REPORTS: It says how it is, or has nothing to say.
        LATE: It should have said more since, and may again.
        SILENT: There is nothing to go by.
        AWAY: It says that it takes no streams: it drains, or its engine does not answer.
    """

    REPORTS = 0
    LATE = 1
    SILENT = 2
    AWAY = 3


class AgeLimits(NamedTuple):
    """How old the report of an engine at work may be, in seconds.

    Attributes:
        fresh_s: Up to this it counts as it is.
        oldest_s: Up to this it is gone by where nobody has a better one.
    """

    fresh_s: float
    oldest_s: float


UNLIMITED = AgeLimits(math.inf, math.inf)


class Judgement(NamedTuple):
    """A standing, and until when it holds without another report."""

    standing: Standing
    until_s: float = math.inf


def judge(known: Known | None, now_s: float, limits: AgeLimits) -> Judgement:
    """How a replica stands.

    Args:
        known: What it said last, if there is anything to go by.
        now_s: On the clock of `known`.
        limits: `UNLIMITED` where reports do not matter.
    """
    if known is not None and not known.report.accepting:
        return Judgement(Standing.AWAY)
    if limits is UNLIMITED:
        return Judgement(Standing.REPORTS)
    if known is None or known.report.kv_blocks_total * known.report.block_size_tokens <= 0:
        return Judgement(Standing.SILENT)
    since_s = known.silent_since_s
    fresh_s = limits.fresh_s if known.was_direct else limits.fresh_s + SERVE_DELAY_S
    if now_s - since_s <= fresh_s:
        return Judgement(Standing.REPORTS, since_s + fresh_s)
    if now_s - since_s <= limits.oldest_s:
        return Judgement(Standing.LATE, since_s + limits.oldest_s)
    return Judgement(Standing.SILENT)
