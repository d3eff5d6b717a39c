import io

import pytest
from rich.console import Console

from bench.top.page import read_fleet
from bench.top.view import NARROW, WIDE, View
from telemetry.instruments import ALMOST_NOTHING


def drawn(view: View, width: int = 120) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(view)
    return out.getvalue().splitlines()


def row(lines: list[str], first: str) -> list[str]:
    (line,) = (line for line in lines if line.startswith(first))
    return line.split()


def test_every_number_is_where_its_heading_is(page) -> None:
    lines = drawn(View(read_fleet([page("abc")])))
    assert lines[0] == "andes  1 replica · andes"
    assert row(lines, "replica") == [
        *("replica", "KV", "used", "running", "waiting", "preempted"),
        *("below", "target", "QoE", "tokens/s"),
    ]
    assert row(lines, "abc") == [
        *("abc", "████████░░", "75%", "3", "2", "1", "1", "(25%)", "0.90", "–"),
    ]
    assert row(lines, "reading") == ["reading", "4", "1", "(25%)", "0.90", "10"]
    assert row(lines, "none") == ["none", "50", "50", "(100%)", "–", "0"]
    (router,) = (line for line in lines if line.startswith("router"))
    assert "12 scored · 2 in turn · 0 held · 0 shed · 3 on their way" in router
    assert router.endswith("oldest report 0.5 s")


def test_totals_are_those_of_the_time_since(page) -> None:
    before, now = read_fleet([page("abc")]), read_fleet([page("abc", scale=3.0)])
    lines = drawn(View(now, before, elapsed_s=10.0))
    # 2,000 tokens in 10 s, and 20 streams with 18.
    assert row(lines, "abc")[-2:] == ["0.90", "200"]


def test_a_mean_of_nobody_lately_is_that_of_all(page) -> None:
    fleet = read_fleet([page("abc")])
    assert row(drawn(View(fleet, fleet, elapsed_s=10.0)), "abc")[-2:] == ["0.90", "0"]


def test_a_replica_that_was_not_there_before_has_no_speed(page) -> None:
    before, now = read_fleet([page("a")]), read_fleet([page("a", "b")])
    assert row(drawn(View(now, before, elapsed_s=10.0)), "b")[-1] == "–"


def test_an_engine_that_begins_anew_never_writes_less_than_nothing(page) -> None:
    before, now = read_fleet([page("abc", scale=9.0)]), read_fleet([page("abc")])
    assert row(drawn(View(now, before, elapsed_s=10.0)), "abc")[-2:] == ["0.90", "0"]


def test_a_notice_is_shown_above_what_was_seen_last(page) -> None:
    lines = drawn(View(read_fleet([page("a")]), notice="no answer"))
    assert lines[1] == "no answer"
    assert row(lines, "a ")[0] == "a"


@pytest.mark.parametrize("width", [WIDE, WIDE - 1, NARROW, NARROW - 1, 40])
def test_a_terminal_of_any_width_shows_memory_and_streams(page, width: int) -> None:
    lines = drawn(View(read_fleet([page("abcdefgh")])), width)
    assert all(len(line) <= width for line in lines)
    shown = row(lines, "abc")
    assert "75%" in shown
    assert shown[shown.index("75%") + 1 :][:3] == ["3", "2", "1"]


def test_a_fleet_that_nobody_has_come_to_says_so(page) -> None:
    nobody = page("abc", scale=ALMOST_NOTHING).replace("} 4\n", "} 0\n")
    fleet = read_fleet([nobody.replace("} 50\n", "} 0\n")])
    assert any(line.startswith("nobody yet") for line in drawn(View(fleet)))
