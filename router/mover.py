"""What one replica does for streams that it cannot serve in time: it asks the others to.

A mover hears what routers hear, and knows what it moved itself; what other movers do it
learns from reports. No framework here: the service and the replay in virtual time share it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeFloat

from qoe import Expectation
from router.cost import Ask
from router.demand import DEFAULT_OUTPUT_TOKENS
from router.fleet import Fleet
from router.ledger import Ledger, Replica
from router.moves import best_move
from router.standing import AgeLimits, Standing
from telemetry.report import EngineReport

# Seconds between looks for streams that others should have.
PERIOD_S = 0.25
MAX_MOVES_AT_ONCE = 2
MAX_MOVES_OF_A_STREAM = 2


class MoveSettings(BaseModel):
    """When a stream is moved."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_slack_s: FiniteFloat = Field(
        default=0.5,
        description="A stream that its reader does not miss yet, for longer than this, may "
        "still be served in time where it is.",
    )
    min_gain: FiniteFloat = Field(
        default=1.0,
        description="QoE of one reader that a move must win, for those to come as well.",
    )
    quiet_s: NonNegativeFloat = Field(
        default=0.5, description="So long nothing came of a stream that counts as waiting."
    )
    max_report_age_s: NonNegativeFloat = Field(
        default=5.0, description="Nobody is moved on what a busy replica said before that."
    )


DEFAULTS = MoveSettings()


@dataclass(frozen=True, slots=True)
class Waiting:
    """A stream that waits where it is.

    Attributes:
        request_id: The mover's name for it, of one stream only.
        request_key: `telemetry.report.request_key` of the name that reports know it by.
        context_tokens: Its prompt and what came of its answer.
        output_tokens: What is still to come, as far as anybody can tell; 0 for unknown.
        slack_s: Seconds until its reader misses it; negative for one who does.
        expectation: What its reader expects.
        num_moved: How often it was moved already.
    """

    request_id: str
    request_key: int
    context_tokens: float
    output_tokens: float
    slack_s: float
    expectation: Expectation
    num_moved: int = 0

    @property
    def ask(self) -> Ask:
        """What is left of it, as a stream to be placed."""
        output = self.output_tokens or DEFAULT_OUTPUT_TOKENS
        return Ask(
            prompt_tokens=self.context_tokens,
            output_tokens=max(1, round(output)),
            demand_tokens=self.context_tokens + output / 2.0,
            cached_tokens=0.0,
            expectation=self.expectation,
        )

    @property
    def waited_s(self) -> float:
        """How long ago a stream that begins would have been asked for."""
        return self.expectation.ttft_s - self.slack_s


class Move(NamedTuple):
    """A stream that should go on elsewhere."""

    request_id: str
    to: Replica


class Mover:
    """Decides for the streams of one replica, `home`.

    Attributes:
        ledger: What was moved and its new replica does not report yet.
    """

    def __init__(
        self,
        home: Replica,
        now_s: Callable[[], float],
        settings: MoveSettings = DEFAULTS,
    ) -> None:
        self._home = home
        self._now_s = now_s
        self._settings = settings
        self.ledger = Ledger(now_s=now_s)
        limits = AgeLimits(settings.max_report_age_s, settings.max_report_age_s)
        self._fleet = Fleet(
            now_s=now_s, ledger=self.ledger, outstanding=None, limits=limits, home=home
        )

    @property
    def mean_output_tokens(self) -> float:
        """Mean length of the finished streams of all replicas; 0 before the first."""
        return self._fleet.mean_output_tokens

    def hear(self, replica: Replica, report: EngineReport) -> None:
        """A report comes in."""
        self._fleet.hear(replica, report)

    def retain(self, replicas: Collection[Replica]) -> None:
        """Forget every replica that is not one of `replicas`."""
        self.ledger.retain(replicas)
        self._fleet.roster.book.retain(replicas)

    def gave_up(self, move: Move) -> None:
        """A move came to nothing: its replica will not have the stream."""
        self.ledger.completed(move.to, move.request_id)

    def moves(
        self, waiting: Iterable[Waiting], serving: Sequence[Replica]
    ) -> Iterator[Move]:
        """Streams that others should have, now; each is taken as done.

        Args:
            waiting: Those that wait at home.
            serving: All replicas, home included.
        """
        candidates = [(replica, None) for replica in serving]
        state = self._fleet.sync(candidates)
        home = self._fleet.row(self._home)
        # Who has no report cannot be compared.
        oldest_s = self._now_s() - state.oldest_report_at_s
        if home is None or oldest_s > self._settings.max_report_age_s:
            return
        if self._fleet.roster.standing is not Standing.REPORTS:
            return
        left = MAX_MOVES_AT_ONCE
        for stream in self._latest_reader_first(waiting):
            if not left:
                return
            to = best_move(
                self._fleet.sync(candidates),
                stream.ask,
                home,
                waited_s=stream.waited_s,
                min_gain=self._settings.min_gain,
            )
            if to is not None:
                left -= 1
                yield self._taken(stream, self._fleet.replicas[to])

    def _latest_reader_first(self, waiting: Iterable[Waiting]) -> list[Waiting]:
        """Those whose readers miss them or soon will, and that may be moved."""
        may_move = [
            stream
            for stream in waiting
            if stream.slack_s <= self._settings.max_slack_s
            and stream.num_moved < MAX_MOVES_OF_A_STREAM
        ]
        order = np.argsort([-stream.slack_s for stream in may_move], kind="stable")
        return [may_move[at] for at in order]

    def _taken(self, stream: Waiting, to: Replica) -> Move:
        ask = stream.ask
        self.ledger.reserve(
            to,
            stream.request_id,
            int(ask.demand_tokens),
            prefill_tokens=round(ask.prompt_tokens),
            request_key=stream.request_key,
        )
        return Move(stream.request_id, to)
