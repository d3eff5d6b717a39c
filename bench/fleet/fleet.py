"""Many replicas, their routers and an autoscaler in one virtual time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial

import numpy as np

from bench.fleet.arguments import Fleet
from bench.fleet.book import Book
from bench.fleet.faults import Fault, FaultKind
from bench.fleet.load import LoadColumns, continued
from bench.fleet.members import Lease, Members
from bench.fleet.movers import PERIOD_S, Move, Movers
from bench.fleet.replica import Replica
from bench.fleet.results import ScaleEvent
from bench.fleet.routers import Routers
from bench.fleet.scaling import Scaler
from bench.fleet.timeline import Clock, Order, Timeline
from bench.load import PlannedStream
from qoe.metrics import Floats
from router.replica_load import FleetLoad, ReplicaLoad, load_of
from telemetry.report import EngineReport

# How often Serve collects a replica's routing stats.
STATS_PERIOD_S = 1.0


class FleetRun:
    """Plays a load through replicas and routers, event by event.

    Invariants:
        Time never goes back.
        Every row ends once in the book.
        A stream waits for no router, and every router knows at once who is dead or is to
            leave.
        Scaling cuts no stream off.
        The pending events are those of the replicas and of reports under way, and one
            arrival: their number does not grow with the load.

    Args:
        options: Delay of reports, faults, and what happens to streams cut off.
        members: Where replicas come from.
        routers: Reading `clock`.
        load: Where rows get their streams from.
        rows: Which of them arrive, in order.
        book: Keeps what becomes of them.
        clock: Set by the run.
        scaler: Asked for the number of replicas; None leaves it.

    Attributes:
        events: When the scaler wanted another number than before.
        demand_cvs: Imbalance of the replicas' demand, once every `STATS_PERIOD_S`.
    """

    def __init__(
        self,
        options: Fleet,
        members: Members,
        routers: Routers,
        load: LoadColumns,
        rows: Sequence[int],
        book: Book,
        clock: Clock,
        scaler: Scaler | None,
    ) -> None:
        self.demand_cvs: list[float] = []
        self.events: list[ScaleEvent] = []
        self._options = options
        self._members = members
        self._scaler = scaler
        self._wanted = options.replicas
        self._routers = routers
        self._load = load
        self._rows: Iterator[int] = iter(rows)
        self._book = book
        self._clock = clock
        self._timeline = Timeline(clock)
        self._at = self._timeline.at
        self._movers = Movers(clock)

    def run(self) -> None:
        """Play until every stream has ended."""
        for _ in range(self._wanted):
            replica = self._members.join(self._members.order(0.0), 0.0)
            self._send_reports(replica, delay_s=0.0)
        self._tell_stats()
        if self._scaler is not None:
            self._await_scaler(self._scaler)
        if self._options.moves:
            self._move()
        for fault in self._options.at:
            self._at(fault.at_s, Order.FAULT, partial(self._fault, fault))
        self._await_arrival()
        while self._book.num_open:
            self._timeline.play_next()

    # ---- streams -------------------------------------------------------------------------

    def _await_arrival(self) -> None:
        row = next(self._rows, None)
        if row is not None:
            arrival_s = float(self._load.arrival_s[row])
            self._at(arrival_s, Order.ARRIVAL, partial(self._arrive, row))

    def _arrive(self, row: int) -> None:
        self._place(row)
        self._await_arrival()

    def _place(self, row: int, came_s: Floats | None = None) -> None:
        """Have a stream, or what is left of it, routed now."""
        serving = self._members.serving
        if not serving:
            self._book.lost(row)
            return
        stream = self._load[row]
        if came_s is not None:
            stream = continued(stream, came_s)
        self._give(self._routers.choose(serving, str(row), stream), row, stream)

    def _give(self, replica: Replica, row: int, stream: PlannedStream) -> None:
        replica.give(str(row), stream)
        if not replica.is_busy:
            self._await_step(replica)

    def _move(self) -> None:
        """Have every replica look for streams that others should go on with."""
        serving = self._members.serving
        for replica in serving:
            for move in self._movers.moves(replica, serving):
                self._moved(replica, move)
        at_s = self._clock.now_s + PERIOD_S
        self._at(at_s, Order.MOVE, self._move)

    def _moved(self, replica: Replica, move: Move) -> None:
        row = int(move.request_id)
        came_s = self._book.times_s(row, replica.take(move.request_id))
        stream = self._load[row]
        if came_s.size:
            self._book.keep(row, came_s)
            stream = continued(stream, came_s)
        self._book.moved += 1
        self._give(move.to, row, stream)

    # ---- steps ---------------------------------------------------------------------------

    def _await_step(self, replica: Replica) -> None:
        replica.is_busy = True
        self._at(self._clock.now_s, Order.STEP_STARTS, partial(self._start_step, replica))

    def _start_step(self, replica: Replica) -> None:
        if replica.is_alive:
            end_s = replica.start_step(self._clock.now_s)
            self._at(end_s, Order.STEP_ENDS, partial(self._finish_step, replica))

    def _finish_step(self, replica: Replica) -> None:
        if not replica.is_alive:
            return
        for request_id, delivered_at_s in replica.finish_step():
            self._book.ended(int(request_id), replica.number, delivered_at_s)
            self._routers.ended(request_id)
        self._send_reports(replica)
        replica.is_busy = False
        if replica.has_work:
            self._await_step(replica)
        elif replica.is_leaving:
            self._members.gone(replica, self._clock.now_s)

    # ---- reports -------------------------------------------------------------------------

    def _send_reports(self, replica: Replica, delay_s: float | None = None) -> None:
        after_s = self._options.report_delay_s if delay_s is None else delay_s
        for report in replica.take_reports():
            if replica.is_heard:
                hear = partial(self._hear, replica, report)
                self._at(self._clock.now_s + after_s, Order.REPORT, hear)

    def _hear(self, replica: Replica, report: EngineReport) -> None:
        if replica.is_alive:
            self._routers.hear(replica.number, report)
            if self._options.moves:
                self._movers.hear(replica.number, report)

    def _tell_stats(self) -> None:
        """Serve collects routing stats; and the imbalance of this moment is noted."""
        serving = self._members.serving
        for replica in serving:
            if replica.is_heard:
                self._routers.hear_slowly(replica.number, replica.last_report)
        self.demand_cvs.append(variation([replica.demand_tokens for replica in serving]))
        self._at(self._clock.now_s + STATS_PERIOD_S, Order.STATS, self._tell_stats)

    # ---- scaling -------------------------------------------------------------------------

    def _await_scaler(self, scaler: Scaler) -> None:
        at_s = self._clock.now_s + scaler.period_s
        self._at(at_s, Order.SCALE, partial(self._scale, scaler))

    def _scale(self, scaler: Scaler) -> None:
        now_s, before = self._clock.now_s, self._wanted
        loads: dict[Hashable, ReplicaLoad] = {
            replica.number: load_of(replica.last_report)
            for replica in self._members.serving
            if replica.is_heard and replica.last_report is not None
        }
        self._wanted = scaler.target(FleetLoad.of(loads), before, now_s)
        if self._wanted != before:
            event = ScaleEvent(at_s=now_s, before=before, after=self._wanted)
            self.events.append(event)
        self._resize()
        self._await_scaler(scaler)

    def _resize(self) -> None:
        """Order what is missing, or let the newest go, those that still start first."""
        members, now_s = self._members, self._clock.now_s
        starting, serving = members.starting, members.serving
        surplus = len(starting) + len(serving) - self._wanted
        for _ in range(-surplus):
            lease = members.order(now_s)
            join = partial(self._join, lease)
            self._at(now_s + self._options.startup_s, Order.SCALE, join)
        for _ in range(surplus):
            if starting:
                members.cancel(starting.pop(), now_s)
            else:
                self._leave(serving.pop())

    def _join(self, lease: Lease) -> None:
        if lease.until_s is None:
            self._send_reports(self._members.join(lease, self._clock.now_s))
            self._routers.retain(self._members.serving)

    def _leave(self, replica: Replica) -> None:
        self._members.leave(replica, self._clock.now_s)
        self._routers.retain(self._members.serving)
        if not replica.streams:
            self._members.gone(replica, self._clock.now_s)

    # ---- faults --------------------------------------------------------------------------

    def _fault(self, fault: Fault) -> None:
        replica = self._members.replicas[fault.replica]
        happen: dict[FaultKind, Callable[[], None]] = {
            "kill": partial(self._kill, replica),
            "slow": partial(replica.set_speed, fault.speed),
            "drain": partial(self._drain, replica),
            "partition-reports": partial(setattr, replica, "is_heard", False),
            "heal-reports": partial(setattr, replica, "is_heard", True),
        }
        if replica.is_alive:
            happen[fault.kind]()

    def _drain(self, replica: Replica) -> None:
        replica.accepting = False
        replica.announce()
        self._send_reports(replica)

    def _kill(self, replica: Replica) -> None:
        cut_off = replica.kill(self._clock.now_s)
        self._members.gone(replica, self._clock.now_s)
        self._routers.retain(self._members.serving)
        for request_id, delivered_at_s in cut_off:
            self._routers.ended(request_id)
            self._go_on(int(request_id), replica, delivered_at_s)

    def _go_on(self, row: int, replica: Replica, delivered_at_s: list[float]) -> None:
        """Send a stream of a dead replica elsewhere, or end it with what it got."""
        came_s = self._book.times_s(row, delivered_at_s)
        is_cut = came_s.size < self._load[row].output_tokens
        if not came_s.size:
            self._book.rerouted += 1
            self._place(row)
        elif self._options.resume_elsewhere and is_cut:
            self._book.resumed += 1
            self._book.keep(row, came_s)
            self._place(row, came_s)
        else:
            self._book.ended(row, replica.number, delivered_at_s)


def variation(values: Sequence[float]) -> float:
    """Standard deviation over mean; 0 where all are 0 or there are none."""
    mean = float(np.mean(values)) if values else 0.0
    return float(np.std(values)) / mean if mean else 0.0
