"""A bad replica gets nothing new within two seconds, and bears on nobody else."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.chooser import Chooser, Stream
from router.settings import PolicyName, RouterSettings
from telemetry.report import EngineReport
from telemetry.routing_stats import to_routing_stats

BY_REPORTS = ("kv_ledger", "remaining_steps", "qoe")
NOTICED_S = 2.0
# Engines report ten times a second, and idle replicas repeat themselves twice a second.
TICK_S = 0.25


class Fleet:
    """Replicas that report as real ones do, until something happens to them.

    Attributes:
        stopped: Those that say nothing any more.
        lies: What some say instead of the truth.
    """

    def __init__(self, chooser: Chooser, clock: Any, **truth: EngineReport) -> None:
        self.chooser, self.truth = chooser, truth
        self.stopped: set[str] = set()
        self.lies: dict[str, EngineReport] = {}
        self._clock, self._number, self._seq = clock, 0, 0

    def pass_s(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK_S)):
            self._clock.advance(TICK_S)
            self._seq += 1
            for name in self.truth.keys() - self.stopped:
                report = self.lies.get(name, self.truth[name])
                if not report.is_idle or name in self.lies:
                    report = _numbered(report, 1 + self._seq)
                self.chooser.on_report(name, report)

    def place(self, count: int = 8) -> Counter[str]:
        names = [*self.truth]
        placed: Counter[str] = Counter()
        for _ in range(count):
            self._number += 1
            stream = Stream(f"r{self._number}", 0, {"prompt": "x", "max_tokens": 9})
            ranks = self.chooser.choose([(n, None) for n in names], stream)
            placed[names[ranks[0][0]]] += 1
        return placed


def _numbered(report: EngineReport, seq: int) -> EngineReport:
    fields = {f: getattr(report, f) for f in report.__struct_fields__}
    return EngineReport(**(fields | {"seq": seq}))


@pytest.fixture
def fleet(clock: Any, make_report: Any) -> Fleet:
    """`grey` would be the best of three."""
    chooser = Chooser(RouterSettings(seed=1, ledger_ttl_s=0.1), now_s=clock)
    busy = {"running": 40, "accepted_total": 40, "demand_tokens": 12_000}
    grey = make_report(epoch="g", running=2, accepted_total=2, demand_tokens=100)
    made = Fleet(
        chooser,
        clock,
        grey=grey,
        b=make_report(epoch="b", **busy),
        c=make_report(epoch="c", **busy),
    )
    made.pass_s(1.0)
    assert made.place() == {"grey": 8}
    return made


def bad_from_now(fleet: Fleet) -> None:
    """Within the time to notice nothing goes to `grey`, and the others are scored."""
    fleet.pass_s(NOTICED_S + TICK_S)
    turned, scored = fleet.chooser.fallbacks, fleet.chooser.decisions
    for _ in range(8):
        assert fleet.place() == {"b": 4, "c": 4}
        fleet.pass_s(2.0)
    assert (fleet.chooser.fallbacks, fleet.chooser.decisions) == (turned, scored + 64)


def well_again(fleet: Fleet) -> None:
    fleet.stopped.clear()
    fleet.lies.clear()
    fleet.pass_s(2 * TICK_S)
    assert fleet.place() == {"grey": 8}


def test_a_frozen_engine_at_work_gets_nothing_until_it_goes_on(fleet: Fleet) -> None:
    fleet.stopped.add("grey")
    bad_from_now(fleet)
    well_again(fleet)


def test_a_frozen_replica_without_work_gets_nothing_until_it_goes_on(
    fleet: Fleet, make_report: Any
) -> None:
    """Its last report says that it is empty, and always will be."""
    fleet.truth["grey"] = make_report(epoch="g", seq=90, accepted_total=2, finished_total=2)
    fleet.pass_s(1.0)
    fleet.stopped.add("grey")
    bad_from_now(fleet)
    well_again(fleet)


def test_a_frozen_engine_whose_replica_knows_gets_nothing_at_once(
    fleet: Fleet, make_report: Any
) -> None:
    busy = {"epoch": "g", "accepted_total": 2, "running": 2}
    fleet.lies["grey"] = make_report(**busy, accepting=False)
    fleet.pass_s(TICK_S)
    assert fleet.place() == {"b": 4, "c": 4}
    bad_from_now(fleet)
    well_again(fleet)


@pytest.mark.parametrize(
    "lie",
    [
        {"accepted_total": 9, "finished_total": 2},
        {"kv_blocks_used": 1001, "running": 2, "accepted_total": 2},
        {"kv_blocks_total": 9999, "running": 2, "accepted_total": 2},
        {"running": 1, "accepted_total": 1},
    ],
    ids=["empty and not", "more than it has", "another engine's memory", "counts back"],
)
def test_a_report_that_no_engine_can_mean_costs_its_replica_the_streams(
    fleet: Fleet, make_report: Any, lie: dict[str, Any]
) -> None:
    fleet.lies["grey"] = make_report(**{"epoch": "g"} | lie)
    fleet.pass_s(TICK_S)
    assert fleet.place() == {"b": 4, "c": 4}
    bad_from_now(fleet)
    well_again(fleet)


@pytest.mark.parametrize("jump_s", [-86_400.0, -3.0, 3.0, 86_400.0])
def test_a_clock_that_jumps_hides_no_frozen_engine_and_costs_nobody_the_streams(
    fleet: Fleet, clock: Any, jump_s: float
) -> None:
    clock.advance(jump_s)
    assert sum(fleet.place().values()) == 8
    fleet.pass_s(2 * TICK_S)
    assert fleet.place() == {"grey": 8}
    fleet.stopped.add("grey")
    bad_from_now(fleet)
    well_again(fleet)


def test_if_all_are_bad_all_are_tried(fleet: Fleet) -> None:
    fleet.stopped |= {"grey", "b", "c"}
    fleet.pass_s(30.0)
    assert fleet.place(9) == {"grey": 3, "b": 3, "c": 3}


def test_late_reports_are_gone_by_where_all_are_late(fleet: Fleet) -> None:
    """A network that is slow for all makes none of them worse than the others."""
    fleet.stopped |= {"grey", "b", "c"}
    fleet.pass_s(5.0)
    assert fleet.place() == {"grey": 8}
    assert not fleet.chooser.fallbacks


def test_what_serve_carries_may_be_as_late_as_serve_is(
    clock: Any, make_report: Any
) -> None:
    chooser = Chooser(RouterSettings(seed=1), now_s=clock)
    busy = {"running": 40, "demand_tokens": 12_000}

    def first(seq: int) -> int:
        stats = (make_report(running=1), make_report(seq=seq, **busy))
        candidates = list(zip("ab", map(to_routing_stats, stats), strict=True))
        return chooser.choose(candidates, None)[0][0]

    firsts = []
    for second in range(8):
        firsts.append(first(1 + second))
        clock.advance(1.0)
    assert firsts == [0, 0, 0, 0, 0, 1, 1, 1]


def replica_report(number: int) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "epoch": st.just(f"e{number}"),
            "running": st.integers(1, 60),
            "waiting": st.integers(0, 30),
            "demand_tokens": st.integers(0, 40_000),
            "kv_blocks_used": st.integers(0, 1000),
            "prefill_backlog_tokens": st.integers(0, 20_000),
            "tokens_total": st.integers(0, 10_000),
            "mean_output_tokens": st.floats(0, 900),
            "step_base_s": st.floats(1e-4, 0.1),
            "prefill_s_per_token": st.floats(0, 1e-3),
            "finished_total": st.integers(0, 100),
        }
    )


BAD: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "late": lambda report: report,
    "away": lambda report: report | {"accepting": False},
    "contradicts itself": lambda report: report | {"kv_blocks_used": 5000},
    "has no memory": lambda report: report | {"kv_blocks_total": 0, "kv_blocks_used": 0},
}


@settings(max_examples=150, deadline=None)
@given(
    data=st.data(),
    policy=st.sampled_from(BY_REPORTS),
    kind=st.sampled_from([*BAD]),
    healthy=st.integers(1, 4).flatmap(
        lambda n: st.tuples(*(replica_report(i) for i in range(n)))
    ),
    bad_one=replica_report(99),
    routers=st.sampled_from([1, 3]),
)
def test_the_choice_among_the_healthy_is_the_same_with_a_bad_one_beside_them(
    data: Any,
    make_report: Any,
    policy: PolicyName,
    kind: str,
    healthy: tuple[dict[str, Any], ...],
    bad_one: dict[str, Any],
    routers: int,
) -> None:
    names = [f"r{number}" for number in range(len(healthy))]
    at = data.draw(st.integers(0, len(names)))
    beside = [*names[:at], "bad", *names[at:]]
    placed = []
    for listed in (names, beside):
        now_s = [100.0]
        chooser = Chooser(
            RouterSettings(policy=policy, seed=1, routers=routers),
            now_s=lambda now_s=now_s: now_s[0],
        )
        chooser.on_report("bad", make_report(**BAD[kind](bad_one)))
        now_s[0] += NOTICED_S + 0.01
        for name, report in zip(names, healthy, strict=True):
            chooser.on_report(name, make_report(**report))
        body = {"prompt": "once upon a time " * 300, "stream": True, "max_tokens": 300}
        for number in range(6):
            stream = Stream(f"s{number}", 0, body, session_id=f"{number % 2}")
            ranks = chooser.choose([(name, None) for name in listed], stream)
            placed.append([[listed[i] for i in rank] for rank in ranks])
    assert placed[:6] == placed[6:]
