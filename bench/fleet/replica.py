"""One replica of a fleet: a virtual engine, what waits before it, and what it tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np

from bench.load import PlannedStream
from bench.replay.cost import StepCost
from bench.replay.engine import MAX_IDLE_STEPS
from bench.replay.run import MeteredEngine
from scheduler.andes import AndesScheduler
from scheduler.reporting import Publisher, Reporter
from telemetry.report import EngineReport

# A stream, and when each of its tokens came.
Delivered = tuple[str, list[float]]


def at_speed(cost: StepCost, speed: float) -> StepCost:
    """What a step costs on an engine that is so many times as fast."""
    names = StepCost.__dataclass_fields__
    return replace(cost, **{name: getattr(cost, name) / speed for name in names})


class TellingScheduler(AndesScheduler):
    """Reports when and what it always does, to somebody in this process."""

    def publish_to(self, publisher: Publisher) -> None:
        self._reporter = Reporter(publisher, self.settings)

    def report_now(self) -> None:
        self._report(self.now_s(), at_once=True)


class Replica:
    """An engine that is stepped by the fleet's clock.

    A step is computed as a whole when it starts. What comes of it is handed out when it
    ends, and none of it if the replica is killed before.

    Invariants:
        A stream that comes in the middle of a step enters with the next one.
        Every stream given is handed out once: by `finish_step`, `take` or `kill`.

    Attributes:
        is_alive: Not killed, and not gone for good.
        is_leaving: No router sends it anything; it finishes what it has.
        accepting: Not draining; its reports say so.
        is_heard: Its reports reach the routers.
        is_busy: A step of it is under way, or about to start.
        streams: Given and not handed out.
        busy_s: Spent in steps with work.
        last_report: The newest it has published; None before the first.
    """

    def __init__(self, number: int, speed: float = 1.0) -> None:
        self.number = number
        self.is_alive = self.accepting = self.is_heard = True
        self.is_leaving = self.is_busy = False
        self.streams = 0
        self.busy_s = 0.0
        self.last_report: EngineReport | None = None
        self._speed = speed
        self._idle_steps = 0
        self._inbox: list[tuple[str, PlannedStream]] = []
        self._ended: list[Delivered] = []
        self._reports: list[EngineReport] = []

    def attach(self, engine: MeteredEngine, now_s: float = 0.0) -> None:
        """Take the engine, which begins now.

        Its `on_done` is `ended`, its scheduler a `TellingScheduler`.
        """
        self.engine = engine
        engine.now_s = now_s
        self._profile_cost = engine.cost
        self.set_speed(self._speed)
        engine.scheduler.publish_to(self)
        self.announce()

    def set_speed(self, speed: float) -> None:
        """From the next step on."""
        self.engine.cost = at_speed(self._profile_cost, speed)

    def ended(self, request_id: str, delivered_at_s: list[float]) -> None:
        """The engine calls it within a step."""
        self._ended.append((request_id, delivered_at_s))

    def publish(self, report: EngineReport) -> None:
        """The engine calls it within a step."""
        self._reports.append(msgspec.structs.replace(report, accepting=self.accepting))

    def close(self) -> None:
        """Engines close what they publish to; there is nothing to close."""

    def give(self, request_id: str, stream: PlannedStream) -> None:
        """Send it a stream now."""
        self.streams += 1
        self._inbox.append((request_id, stream))

    def start_step(self, now_s: float) -> float:
        """Begin a step; returns when it ends.

        Raises:
            RuntimeError: The scheduler holds streams and serves none of them.
        """
        engine = self.engine
        engine.now_s = max(engine.now_s, now_s)
        for request_id, stream in self._inbox:
            engine.submit(request_id, stream)
        self._inbox.clear()
        has_work = bool(engine.step().num_scheduled_tokens)
        self._idle_steps = 0 if has_work else self._idle_steps + 1
        if self._idle_steps > MAX_IDLE_STEPS:
            raise RuntimeError(f"no stream was served in {self._idle_steps} steps")
        self.busy_s += (engine.now_s - now_s) if has_work else 0.0
        return engine.now_s

    def finish_step(self) -> list[Delivered]:
        """The streams that have ended with the step that is over now."""
        ended, self._ended = self._ended, []
        self.streams -= len(ended)
        return ended

    @property
    def has_work(self) -> bool:
        """Whether another step is needed."""
        return bool(self._inbox) or self.engine.scheduler.has_unfinished_requests()

    def take_reports(self) -> list[EngineReport]:
        """What was published since this was last called, oldest first."""
        reports, self._reports = self._reports, []
        if reports:
            self.last_report = reports[-1]
        return reports

    def announce(self) -> None:
        """Have the engine report now."""
        self.engine.scheduler.report_now()

    @property
    def demand_tokens(self) -> float:
        """Context of its live streams."""
        streams = self.engine.scheduler.streams
        context = float(streams.context_tokens(streams.all_slots()).sum())
        return context + sum(stream.input_tokens for _, stream in self._inbox)

    @property
    def waiting(self) -> list[str]:
        """Streams that hold no KV memory."""
        return [request.request_id for request in self.engine.scheduler.waiting]

    def take(self, request_id: str) -> list[float]:
        """Give up a stream without KV memory, and say when its tokens came."""
        self.streams -= 1
        return self.engine.abort(request_id)

    def kill(self, now_s: float) -> list[Delivered]:
        """End it: every stream it had, with the tokens that came by now."""
        self.is_alive = False
        taken = list(self._taken(now_s))
        self.streams -= len(taken)
        self._inbox.clear()
        self._ended.clear()
        self._reports.clear()
        return taken

    def _taken(self, now_s: float) -> Iterator[Delivered]:
        for request_id, times_s in (*self._ended, *self.engine.delivered_at_s.items()):
            came = np.searchsorted(times_s, now_s, side="right")
            yield request_id, times_s[:came]
        for request_id, _ in self._inbox:
            yield request_id, []
