from typing import Any

import pytest

from qoe import Expectation
from router.mover import MAX_MOVES_AT_ONCE, MAX_MOVES_OF_A_STREAM, Mover, Waiting

BUSY = {
    "kv_blocks_used": 500,
    "demand_tokens": 8000,
    "running": 20,
    "tokens_total": 10_000,
    "step_base_s": 0.02,
    "prefill_s_per_token": 1e-4,
    "mean_output_tokens": 200.0,
}
# Its 16,000 tokens are held, and as many wait for them.
FULL = BUSY | {"kv_blocks_used": 1000, "demand_tokens": 32_000, "waiting": 20}
READER = Expectation(1.0, 4.8)


@pytest.fixture
def mover(make_report: Any, clock: Any) -> Mover:
    mover = Mover("home", clock)
    mover.hear("home", make_report(**FULL))
    mover.hear("peer", make_report(**BUSY))
    return mover


def waiting(name: str, slack_s: float = 0.0, num_moved: int = 0) -> Waiting:
    return Waiting(name, hash(name), 600.0, 200.0, slack_s, READER, num_moved)


def moved(mover: Mover, *streams: Waiting) -> list[tuple[str, Any]]:
    return [tuple(move) for move in mover.moves(streams, ["home", "peer"])]


def test_a_stream_that_waits_goes_where_there_is_room(mover: Mover) -> None:
    assert moved(mover, waiting("a")) == [("a", "peer")]


def test_whose_reader_has_much_to_read_stays(mover: Mover) -> None:
    assert moved(mover, waiting("a", slack_s=0.6)) == []


def test_a_stream_is_not_moved_for_ever(mover: Mover) -> None:
    assert moved(mover, waiting("a", num_moved=MAX_MOVES_OF_A_STREAM)) == []


def test_few_move_at_once_and_those_first_who_can_still_be_on_time(mover: Mover) -> None:
    slacks_s = {"a": -3.0, "b": 0.3, "c": -1.0}
    streams = [waiting(name, slack_s) for name, slack_s in slacks_s.items()]
    assert [name for name, _ in moved(mover, *streams)] == ["b", "c"]
    assert MAX_MOVES_AT_ONCE == 2


def test_what_was_sent_there_counts_until_it_came_to_nothing(mover: Mover) -> None:
    (move,) = mover.moves([waiting("a")], ["home", "peer"])
    assert mover.ledger.unseen("peer") == (700, 1)
    mover.gave_up(move)
    assert mover.ledger.unseen("peer") == (0, 0)


def test_the_ledger_is_empty_once_reports_name_the_stream(
    mover: Mover, make_report: Any
) -> None:
    stream = waiting("a")
    assert moved(mover, stream)
    report = BUSY | {"seq": 2, "accepted_total": 1, "accepted_keys": (stream.request_key,)}
    mover.hear("peer", make_report(**report))
    assert len(mover.ledger) == 0


def test_the_ledger_is_empty_some_time_after_the_last_move(
    mover: Mover, clock: Any
) -> None:
    assert moved(mover, waiting("a"))
    clock.advance(20.0)
    assert len(mover.ledger) == 0


def test_a_replica_that_is_gone_is_forgotten_with_what_it_was_sent(mover: Mover) -> None:
    assert moved(mover, waiting("a"))
    mover.retain(["home"])
    assert len(mover.ledger) == 0
    assert list(mover.moves([waiting("b")], ["home"])) == []


def test_nobody_moves_on_old_news(mover: Mover, clock: Any) -> None:
    clock.advance(6.0)
    assert moved(mover, waiting("a")) == []


def test_nobody_moves_to_a_replica_that_drains(mover: Mover, make_report: Any) -> None:
    mover.hear("peer", make_report(**BUSY, seq=2, accepting=False))
    assert moved(mover, waiting("a")) == []


def test_one_old_report_keeps_nobody_from_the_others(
    mover: Mover, make_report: Any, clock: Any
) -> None:
    clock.advance(6.0)
    for name, state in (("home", FULL), ("other", BUSY)):
        mover.hear(name, make_report(**state, seq=2))
    (move,) = mover.moves([waiting("a")], ["peer", "home", "other"])
    assert move.to == "other"


def test_nobody_moves_before_all_have_reported(make_report: Any, clock: Any) -> None:
    mover = Mover("home", clock)
    assert moved(mover, waiting("a")) == []
    mover.hear("home", make_report(**FULL))
    assert moved(mover, waiting("a")) == []
