"""Many replicas, their routers and an autoscaler in one virtual time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial

from bench.fleet.arguments import Fleet
from bench.fleet.book import Book
from bench.fleet.faults import Fault, FaultKind
from bench.fleet.load import LoadColumns, continued
from bench.fleet.members import Lease, Member, Members
from bench.fleet.replica import Outcome
from bench.fleet.results import ScaleEvent, variation
from bench.fleet.routers import Routers
from bench.fleet.scaling import Scaler
from bench.fleet.share import Engines
from bench.fleet.timeline import Clock, Moment, Order, Timeline
from qoe.metrics import Floats
from router.replica_load import FleetLoad, ReplicaLoad, load_of
from telemetry.report import EngineReport

# How often Serve collects a replica's routing stats.
STATS_PERIOD_S = 1.0


class FleetRun:
    """Plays a load through replicas and routers, from one decision to the next.

    Invariants:
        Time never goes back.
        Every row ends once in the book.
        A stream waits for no router, and every router knows at once who is dead or is to
            leave.
        Scaling cuts no stream off.
        The pending events are those of steps and of reports under way, and one arrival:
            their number does not grow with the load.

    Args:
        options: Delay of reports, faults, and what happens to streams cut off.
        engines: What the replicas serve with.
        routers: Reading `clock`.
        load: Where rows get their streams from.
        rows: Which of them arrive, in order.
        book: Keeps what becomes of them.
        clock: Set by the run.
        scaler: Asked for the number of replicas; None leaves it.

    Attributes:
        members: The replicas as the fleet sees them.
        events: When the scaler wanted another number than before.
        demand_cvs: Imbalance of the replicas' demand, once every `STATS_PERIOD_S`.
    """

    def __init__(
        self,
        options: Fleet,
        engines: Engines,
        routers: Routers,
        load: LoadColumns,
        rows: Sequence[int],
        book: Book,
        clock: Clock,
        scaler: Scaler | None,
    ) -> None:
        self.members = Members()
        self.demand_cvs: list[float] = []
        self.events: list[ScaleEvent] = []
        self._options = options
        self._engines = engines
        self._scaler = scaler
        self._wanted = options.replicas
        self._routers = routers
        self._load = load
        self._rows: Iterator[int] = iter(rows)
        self._book = book
        self._clock = clock
        # What the fleet decides, and what engines report in between.
        self._decisions = Timeline(clock)
        self._news = Timeline(clock)
        self._at = self._decisions.at

    def run(self) -> None:
        """Play until every stream has ended."""
        for _ in range(self._wanted):
            self._join(self.members.order(0.0), delay_s=0.0)
        self._tell_stats()
        if self._scaler is not None:
            self._await_scaler(self._scaler)
        for fault in self._options.at:
            self._at(fault.at_s, Order.FAULT, partial(self._fault, fault))
        self._await_arrival()
        while self._book.num_open:
            self._catch_up(self._decisions.next_moment)
            if self._book.num_open:
                self._decisions.play_next()

    def _catch_up(self, until: Moment) -> None:
        """Deliver what happens before `until`."""
        for outcome in self._engines.outcomes(until):
            self._await_outcome(outcome)
        while self._book.num_open and self._news.next_moment < until:
            self._news.play_next()

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
        serving = self.members.serving
        if not serving:
            self._book.lost(row)
            return
        stream = self._load[row]
        if came_s is not None:
            stream = continued(stream, came_s)
        member = self._routers.choose(serving, str(row), stream)
        member.streams += 1
        self._engines.give(member.number, self._clock.now_s, str(row), stream)

    # ---- what engines tell ---------------------------------------------------------------

    def _await_outcome(self, outcome: Outcome) -> None:
        member = self.members.all[outcome.replica]
        if not member.is_alive:
            return
        self._await_reports(member, outcome.reports, outcome.at_s)
        if outcome.ended or outcome.is_idle:
            end = partial(self._step_ended, member, outcome)
            self._news.at(outcome.at_s, Order.STEP_ENDS, end, member.number)

    def _step_ended(self, member: Member, outcome: Outcome) -> None:
        if not member.is_alive:
            return
        member.streams -= len(outcome.ended)
        for request_id, delivered_at_s in outcome.ended:
            self._book.ended(int(request_id), member.number, delivered_at_s)
            self._routers.ended(request_id)
        if outcome.is_idle and member.is_leaving:
            self.members.gone(member, self._clock.now_s)

    def _await_reports(
        self,
        member: Member,
        reports: Sequence[EngineReport],
        published_at_s: float,
        delay_s: float | None = None,
    ) -> None:
        """Faults decide who is heard, so nothing of that changes between two decisions."""
        if reports:
            member.last_report = reports[-1]
        if member.is_reachable:
            after_s = self._options.report_delay_s if delay_s is None else delay_s
            for report in reports:
                deliver = partial(self._on_report, member, report)
                self._news.at(
                    published_at_s + after_s, Order.REPORT, deliver, member.number
                )

    def _on_report(self, member: Member, report: EngineReport) -> None:
        if member.is_alive:
            self._routers.on_report(member.number, report)

    def _tell_stats(self) -> None:
        """Serve collects routing stats; and the imbalance of this moment is noted."""
        serving, demand_tokens = self.members.serving, self._engines.demand_tokens()
        for member in serving:
            if member.is_reachable:
                self._routers.on_routing_stats(member.number, member.last_report)
        self.demand_cvs.append(variation([demand_tokens[m.number] for m in serving]))
        self._at(self._clock.now_s + STATS_PERIOD_S, Order.STATS, self._tell_stats)

    # ---- scaling -------------------------------------------------------------------------

    def _await_scaler(self, scaler: Scaler) -> None:
        at_s = self._clock.now_s + scaler.period_s
        self._at(at_s, Order.SCALE, partial(self._scale, scaler))

    def _scale(self, scaler: Scaler) -> None:
        now_s, before = self._clock.now_s, self._wanted
        loads: dict[Hashable, ReplicaLoad] = {
            member.number: load_of(member.last_report)
            for member in self.members.serving
            if member.is_reachable and member.last_report is not None
        }
        self._wanted = scaler.target(FleetLoad.of(loads), before, now_s)
        if self._wanted != before:
            event = ScaleEvent(at_s=now_s, before=before, after=self._wanted)
            self.events.append(event)
        self._resize()
        self._await_scaler(scaler)

    def _resize(self) -> None:
        """Order what is missing, or let the newest go, those that still start first."""
        members, now_s = self.members, self._clock.now_s
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

    def _join(self, lease: Lease, delay_s: float | None = None) -> None:
        if lease.until_s is None:
            now_s = self._clock.now_s
            member = self.members.join(lease, now_s)
            reports = self._engines.start(member.number, now_s)
            self._await_reports(member, reports, now_s, delay_s)
            self._routers.retain(self.members.serving)

    def _leave(self, member: Member) -> None:
        self.members.leave(member, self._clock.now_s)
        self._routers.retain(self.members.serving)
        if not member.streams:
            self.members.gone(member, self._clock.now_s)

    # ---- faults --------------------------------------------------------------------------

    def _fault(self, fault: Fault) -> None:
        member = self.members.all[fault.replica]
        happen: dict[FaultKind, Callable[[], None]] = {
            "kill": partial(self._kill, member),
            "slow": partial(self._engines.set_speed, member.number, fault.speed),
            "drain": partial(self._drain, member),
            "partition-reports": partial(setattr, member, "is_reachable", False),
            "heal-reports": partial(setattr, member, "is_reachable", True),
        }
        if member.is_alive:
            happen[fault.kind]()

    def _drain(self, member: Member) -> None:
        reports = self._engines.drain(member.number)
        self._await_reports(member, reports, self._clock.now_s)

    def _kill(self, member: Member) -> None:
        cut_off = self._engines.kill(member.number, self._clock.now_s)
        member.streams -= len(cut_off)
        self.members.gone(member, self._clock.now_s)
        self._routers.retain(self.members.serving)
        for request_id, delivered_at_s in cut_off:
            self._routers.ended(request_id)
            self._go_on(int(request_id), member, delivered_at_s)

    def _go_on(self, row: int, member: Member, delivered_at_s: list[float]) -> None:
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
            self._book.ended(row, member.number, delivered_at_s)
