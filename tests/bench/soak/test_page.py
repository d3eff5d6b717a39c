"""The table says what was done, and what was lost."""

from __future__ import annotations

from typing import Any

import msgspec

from bench.results import Environment
from bench.soak.page import page
from bench.soak.results import Break, Check, Ended, InjectedFault, Rest, Soak

REST = Rest(
    after_s=1.0, busy={}, on_their_way=0, processes={}, sockets={}, descriptors={}, files=0
)


def ended(kind: str, ending: str, **more: Any) -> Ended:
    return Ended(
        kind=kind, ending=ending, reason="", began_s=0.0, ended_s=90.0, tokens=50, **more
    )


SOAK = Soak(
    command="andes soak",
    environment=Environment(commit="c0ffee", dirty=False, python="3.11", cpu_count=2),
    streaming="direct",
    duration_s=600.0,
    started=3,
    ended=[
        ended("short", "finished", breaks=[Break(5.0, "cut")]),
        ended("leaves (reset)", "cancelled"),
        ended("bad", "refused"),
    ],
    faults=[InjectedFault(name="kill_replica", at_s=5.0, whole_s=50.0, streams=1)],
    before=REST,
    after=REST,
    series={},
    checks=[Check("nothing goes quiet", True, "0 silences")],
)


def test_a_soak_that_held_says_what_it_held() -> None:
    text = page(SOAK)
    assert "Made by `andes soak` at commit c0ffee" in text
    assert "All of it held." in text
    assert (
        "| load held | 2 answers in 10 min: 1 finished, 1 cancelled; 100 tokens, "
        "the longest stream 90 s | nothing |"
    ) in text
    assert (
        "| faults injected | 1 × kill replica | 1 answers were cut or had to be asked for "
        "again; 1 came whole |"
    ) in text
    assert "| bad inputs tried | 1 | nothing |" in text
    assert "| nothing goes quiet | yes | 0 silences |" in text


def test_what_was_lost_is_in_the_table() -> None:
    lost = msgspec.structs.replace(
        SOAK,
        ended=[
            ended("short", "failed"),
            ended("short", "finished", difference="token 3 is 5 and not 6"),
            ended("bad", "failed"),
        ],
        checks=[Check("no answer is lost", False, "1 lost")],
    )
    text = page(lost)
    assert "**Not all of it held.**" in text
    assert "| 2 answers |" in text
    assert "| bad inputs tried | 1 | 1 not refused |" in text
    assert "| no answer is lost | **no** | 1 lost |" in text
