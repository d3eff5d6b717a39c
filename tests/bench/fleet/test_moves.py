import pytest

pytest.importorskip("vllm")

from bench.fleet.arguments import Fleet
from bench.fleet.faults import Fault
from bench.fleet.run import replay_fleet
from bench.replay.results import Run

# One of four replicas gets slow under its streams, and routers take turns.
SLOW = Fault(0.5, "slow", 1, 0.05)


@pytest.fixture
def play(make_cell):
    def play(*, moves: bool, **options) -> Run:
        fleet = Fleet(replicas=4, at=(SLOW,), moves=moves, **options)
        return replay_fleet(make_cell(), fleet, "round_robin")

    return play


def test_streams_that_wait_are_served_elsewhere_and_whole(play) -> None:
    stayed, moved = play(moves=False), play(moves=True)
    assert stayed.summary.moved == 0
    assert moved.summary.moved > 0
    assert moved.summary.failed == 0
    assert (moved.scores.tokens == stayed.scores.tokens).all()
    assert moved.summary.mean_qoe_area > stayed.summary.mean_qoe_area


def test_moves_are_the_same_again(play) -> None:
    first, second = play(moves=True), play(moves=True)
    assert (first.scores.end_s == second.scores.end_s).all()


def test_a_router_counts_a_moved_stream_until_it_ends(play) -> None:
    run = play(moves=True, direct_streaming=True)
    assert run.summary.failed == 0
    assert run.summary.fallbacks == 0
