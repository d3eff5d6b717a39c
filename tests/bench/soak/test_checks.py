"""Every check of a soak fails for what it is there for, and for that alone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.soak.checks import all_checks
from bench.soak.results import Break, Ended, InjectedFault, Rest, Silence, Usage

DIED = InjectedFault(name="kill_replica", at_s=100.0, whole_s=150.0, streams=2)
FROZE = InjectedFault(name="freeze_engine", at_s=200.0, whole_s=210.0, streams=2)
NO_PROXY = InjectedFault(name="kill_haproxy", at_s=300.0, whole_s=340.0)
REST = Rest(
    after_s=2.0,
    busy={},
    on_their_way=0.0,
    processes={"engine": 2, "proxy": 1},
    sockets={"engine": 20, "proxy": 8},
    descriptors={"engine": 60, "proxy": 30},
    files=3,
)


def ended(**changes: Any) -> Ended:
    whole = Ended(
        kind="short", ending="finished", reason="", began_s=50.0, ended_s=60.0, tokens=100
    )
    return msgspec.structs.replace(whole, **changes)


def steady(**gains: float) -> list[Usage]:
    """What a process held over two minutes, in which it gained so much."""
    held = {"memory_mib": 200.0, "descriptors": 50.0, "sockets": 20.0, "threads": 30.0}
    return [
        Usage(
            at_s=2.0 * i,
            # Noise, and a step as a burst makes it, that are no growth.
            **{
                k: v + i % 3 + 5 * (10 < i < 20) + gains.get(k, 0) * i / 60
                for k, v in held.items()
            },
        )
        for i in range(61)
    ]


def failing(**planted: Any) -> list[str]:
    """Names of the checks that do not hold of a sound soak with something planted."""
    soak: dict[str, Any] = {
        "ended": [
            ended(breaks=[Break(105.0, "cut")]),
            ended(ending="cancelled", reason="left"),
        ],
        "faults": [DIED, FROZE, NO_PROXY],
        "series": {"engine 1": steady(), "proxy 2": steady()},
        "before": REST,
        "after": REST,
    } | planted
    soak.setdefault("started", len(soak["ended"]))
    return [check.name for check in all_checks(**soak) if not check.held]


def test_a_sound_soak_holds() -> None:
    assert failing() == []


def test_who_asked_a_dead_router_may_be_told_so_when_it_is_back() -> None:
    dead = InjectedFault(name="kill_router", at_s=400.0, whole_s=404.0)
    assert failing(faults=[dead], ended=[ended(breaks=[Break(405.7, "unreachable")])]) == []


def rest(**changes: Any) -> Rest:
    return msgspec.structs.replace(REST, **changes)


def cut_at(at_s: float) -> Ended:
    return ended(breaks=[Break(at_s, "cut")])


# What makes each check fail, and no other one.
PLANTED: dict[str, list[dict[str, Any]]] = {
    "every stream has an end, and a reason": [
        {"started": 3},
        {"ended": [ended(), ended(ending="", reason="a bug")]},
        {"ended": [ended(), ended(ending="cancelled")]},
    ],
    "tokens are those of the undisturbed answer": [
        {"ended": [ended(difference="token 3 is 5 and not 6")]}
    ],
    "streams break off only by faults that cut them": [
        {"ended": [cut_at(90.0)]},
        {"ended": [cut_at(140.0)]},
        {"ended": [cut_at(345.5)]},
        # Nothing is cut by what only stands still.
        {"ended": [cut_at(205.0)]},
    ],
    "a death cuts the streams of the dead alone": [
        {"ended": [cut_at(105.0) for _ in range(7)]}
    ],
    "nothing goes quiet": [{"ended": [ended(silences=[Silence(170.0, 185.0)])]}],
    "no answer is lost": [
        {"ended": [ended(), ended(ending="failed", reason="cut")]},
        {"ended": [ended(ending="cancelled", reason="left")]},
    ],
    "the service becomes whole again": [
        {"faults": [DIED, msgspec.structs.replace(FROZE, whole_s=None)]}
    ],
    "engines, queues and ledgers are empty": [
        {"after": rest(busy={"r": "1 running"})},
        {"after": rest(on_their_way=1.0)},
    ],
    "at rest there is what there was before": [
        {"after": rest(processes={"engine": 2, "proxy": 2})},
        {"after": rest(processes={"engine": 2})},
        {"after": rest(sockets={"engine": 20, "proxy": 21})},
        {"after": rest(descriptors={"engine": 85, "proxy": 30})},
        {"after": rest(files=40)},
    ],
    "memory is flat": [{"series": {"engine 1": steady(memory_mib=120.0)}}],
    "descriptors are flat": [{"series": {"engine 1": steady(descriptors=60.0)}}],
    "sockets are flat": [{"series": {"engine 1": steady(sockets=60.0)}}],
    "threads are flat": [{"series": {"engine 1": steady(threads=60.0)}}],
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_fails_its_check_alone(name: str) -> None:
    for planted in PLANTED[name]:
        assert failing(**planted) == [name], planted


def test_every_check_can_fail() -> None:
    checks = all_checks(0, [], [], {}, REST, REST)
    assert {check.name for check in checks} == set(PLANTED)


def test_what_is_loaded_once_is_no_leak() -> None:
    loaded = steady()
    at = len(loaded) // 2
    loaded[at:] = [
        msgspec.structs.replace(one, memory_mib=one.memory_mib + 300.0)
        for one in loaded[at:]
    ]
    assert failing(series={"controller 1": loaded}) == []


def test_nothing_watched_is_nothing_shown_to_be_flat() -> None:
    assert len(failing(series={"engine 1": steady()[:10]})) == 4


def test_faults_explain_what_they_do() -> None:
    explained = [
        ended(breaks=[Break(119.0, "cut"), Break(335.0, "no connection")]),
        ended(silences=[Silence(198.0, 212.0)]),
    ]
    assert failing(ended=explained) == []
