"""One replica of a fleet: a virtual engine, what waits before it, and what it tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec
import numpy as np

from bench.fleet.timeline import NEVER, Moment, Order
from bench.load import PlannedStream
from bench.replay.cost import StepCost
from bench.replay.engine import MAX_IDLE_STEPS
from bench.replay.run import MeteredEngine
from bench.replay.virtual_config import EngineSize
from qoe import Expectation
from scheduler.andes import AndesScheduler
from scheduler.live_streams import Floats, Slots
from scheduler.reader_figures import ReaderFigures
from scheduler.reporting import Publisher, Reporter
from scheduler.settings import SchedulerSettings
from telemetry.report import EngineReport

# A stream, and when each of its tokens came.
Delivered = tuple[str, list[float]]


class Outcome(NamedTuple):
    """What comes of a step when it ends; steps that nothing comes of are not told.

    Attributes:
        ended: Streams that got their last token.
        reports: Oldest first.
        is_idle: No step follows until a stream comes.
    """

    at_s: float
    replica: int
    ended: list[Delivered]
    reports: list[EngineReport]
    is_idle: bool


class Figures(NamedTuple):
    """What a replica has done, in numbers.

    Attributes:
        busy_s: Spent in steps with work.
        plans_s: Real seconds of each plan.
    """

    number: int
    busy_s: float
    tokens_total: int
    preemptions_total: int
    peak_waiting: int
    plan_failures_total: int
    plans_s: Sequence[float]


def at_speed(cost: StepCost, speed: float) -> StepCost:
    """What a step costs on an engine that is so many times as fast."""
    names = StepCost.__dataclass_fields__
    return replace(cost, **{name: getattr(cost, name) / speed for name in names})


class _NoFigures(ReaderFigures):
    """They are for Prometheus, whom nobody here has, and take time in every step."""

    def added(self, slot: int, expectation: Expectation) -> None: ...
    def held(self, slots: Slots, passed_s: Floats) -> None: ...
    def delivering(self, slots: Slots, now_s: float) -> None: ...
    def finished(self, slot: int, now_s: float, *, has_left: bool) -> None: ...


class TellingScheduler(AndesScheduler):
    """Reports when and what it always does, to somebody in this process."""

    def publish_to(self, publisher: Publisher) -> None:
        self._reporter = Reporter(publisher, self.settings)
        self.streams.figures = _NoFigures(self.streams.readers)

    def report_now(self) -> None:
        self._report(self.now_s(), at_once=True)


class Replica:
    """An engine that plays its own steps, up to any moment.

    A step is computed as a whole when it starts. What comes of it is handed out when it
    ends, and none of it if the replica is killed before.

    Invariants:
        A stream that comes in the middle of a step enters with the next one.
        Every stream given is handed out once: by `play` or `kill`.

    Attributes:
        next_moment: When a step starts or ends next; `NEVER` while there is nothing to do.
        is_alive: Not killed.
        accepting: Not draining; its reports say so.
    """

    def __init__(self, number: int, speed: float = 1.0) -> None:
        self.next_moment: Moment = NEVER
        self.is_alive = self.accepting = True
        self._number = number
        self._speed = speed
        self._busy_s = 0.0
        self._idle_steps = 0
        self._given: list[tuple[str, PlannedStream]] = []
        self._ended: list[Delivered] = []
        self._reports: list[EngineReport] = []

    def attach(self, engine: MeteredEngine, now_s: float = 0.0) -> None:
        """Take the engine, which begins now.

        Its `on_done` is `ended`, its scheduler a `TellingScheduler`.
        """
        self._engine = engine
        engine.now_s = now_s
        self._profile_cost = engine.cost
        self.set_speed(self._speed)
        engine.scheduler.publish_to(self)
        self.announce()

    def set_speed(self, speed: float) -> None:
        """From the next step on."""
        self._engine.cost = at_speed(self._profile_cost, speed)

    def ended(self, request_id: str, delivered_at_s: list[float]) -> None:
        """The engine calls it within a step."""
        self._ended.append((request_id, delivered_at_s))

    def publish(self, report: EngineReport) -> None:
        """The engine calls it within a step."""
        self._reports.append(msgspec.structs.replace(report, accepting=self.accepting))

    def close(self) -> None:
        """Engines close what they publish to; there is nothing to close."""

    def give(self, now_s: float, request_id: str, stream: PlannedStream) -> None:
        """Send it a stream now."""
        self._given.append((request_id, stream))
        if self.next_moment is NEVER:
            self.next_moment = now_s, Order.STEP_STARTS

    def play(self, until: Moment, lookahead_s: float = 0.0) -> Iterator[Outcome]:
        """Go on to `until`, which is not played.

        Args:
            until: What starts or ends before is played.
            lookahead_s: No step starts in the last `lookahead_s` before.

        Raises:
            RuntimeError: The scheduler holds streams and serves none of them.
        """
        start_by_s = until[0] - lookahead_s
        while self.next_moment < until:
            now_s, order = self.next_moment
            if order is Order.STEP_STARTS:
                if now_s > start_by_s:
                    return
                self.next_moment = self._start_step(now_s), Order.STEP_ENDS
                continue
            goes_on = self._has_work
            self.next_moment = (now_s, Order.STEP_STARTS) if goes_on else NEVER
            if self._ended or self._reports or not goes_on:
                ended, self._ended = self._ended, []
                reports = self.take_reports()
                yield Outcome(now_s, self._number, ended, reports, not goes_on)

    def _start_step(self, now_s: float) -> float:
        """Compute a step; returns when it ends."""
        engine = self._engine
        engine.now_s = max(engine.now_s, now_s)
        for request_id, stream in self._given:
            engine.submit(request_id, stream)
        self._given.clear()
        has_work = bool(engine.step().num_scheduled_tokens)
        self._idle_steps = 0 if has_work else self._idle_steps + 1
        if self._idle_steps > MAX_IDLE_STEPS:
            raise RuntimeError(f"no stream was served in {self._idle_steps} steps")
        self._busy_s += (engine.now_s - now_s) if has_work else 0.0
        return engine.now_s

    @property
    def _has_work(self) -> bool:
        """Whether another step is needed."""
        return bool(self._given) or self._engine.scheduler.has_unfinished_requests()

    def take_reports(self) -> list[EngineReport]:
        """What was published since this was last called, oldest first."""
        reports, self._reports = self._reports, []
        return reports

    def announce(self) -> None:
        """Have the engine report now."""
        self._engine.scheduler.report_now()

    @property
    def demand_tokens(self) -> float:
        """Context of its live streams."""
        streams = self._engine.scheduler.streams
        context = float(streams.context_tokens(streams.all_slots()).sum())
        return context + sum(stream.input_tokens for _, stream in self._given)

    def kill(self, now_s: float) -> list[Delivered]:
        """End it: every stream it had, with the tokens that came by now."""
        self.is_alive = False
        self.next_moment = NEVER
        taken = list(self._taken(now_s))
        self._given.clear()
        self._ended.clear()
        self._reports.clear()
        return taken

    def _taken(self, now_s: float) -> Iterator[Delivered]:
        for request_id, times_s in (*self._ended, *self._engine.delivered_at_s.items()):
            came = np.searchsorted(times_s, now_s, side="right")
            yield request_id, times_s[:came]
        for request_id, _ in self._given:
            yield request_id, []

    @property
    def figures(self) -> Figures:
        """So far."""
        engine = self._engine
        return Figures(
            number=self._number,
            busy_s=self._busy_s,
            tokens_total=engine.scheduler.streams.tokens_total,
            preemptions_total=engine.scheduler.streams.preemptions_total,
            peak_waiting=engine.peak_waiting,
            plan_failures_total=engine.scheduler.plan_failures_total,
            plans_s=engine.plans_s,
        )


@dataclass(frozen=True, slots=True)
class ReplicaMaker:
    """Makes the replica of a number, in any process.

    Attributes:
        speeds: Of the first ones; those after them have the speed 1.
    """

    settings: SchedulerSettings
    size: EngineSize
    cost: StepCost
    speeds: tuple[float, ...]

    def __call__(self, number: int, now_s: float) -> Replica:
        speed = self.speeds[number] if number < len(self.speeds) else 1.0
        replica = Replica(number, speed)
        engine = MeteredEngine(
            self.settings,
            self.size,
            cost=self.cost,
            scheduler_cls=TellingScheduler,
            on_done=replica.ended,
        )
        replica.attach(engine, now_s)
        return replica
