import pytest

from bench.fleet.members import MAX_STEPS, Members


@pytest.fixture
def members() -> Members:
    return Members()


def test_gpus_are_held_from_the_order_to_the_end(members) -> None:
    stays = members.join(members.order(0.0), 0.0)
    leaves = members.join(members.order(10.0), 40.0)
    members.cancel(members.order(20.0), 25.0)
    late = members.order(95.0)
    members.leave(leaves, 60.0)
    members.gone(leaves, 70.0)
    assert members.held_s(100.0) == 100.0 + 60.0 + 5.0 + 5.0
    # What happens after the last token of a run is no part of it.
    assert members.held_s(30.0) == 30.0 + 20.0 + 5.0
    assert members.serving == [stays]
    assert members.starting == [late]


def test_steps_tell_who_starts_serves_and_leaves_with_the_last_of_a_moment(members) -> None:
    first = members.join(members.order(0.0), 0.0)
    second = members.order(1.0)
    members.join(second, 3.0)
    members.leave(first, 5.0)
    members.gone(first, 5.0)
    told = [(s.at_s, s.starting, s.serving, s.leaving) for s in members.steps]
    assert told == [(0.0, 0, 1, 0), (1.0, 1, 1, 0), (3.0, 0, 2, 0), (5.0, 0, 1, 0)]


def test_the_list_of_steps_ends_and_says_how_many_are_missing(members) -> None:
    for second in range(MAX_STEPS + 7):
        members.order(float(second))
    assert len(members.steps) == MAX_STEPS
    assert members.steps_left_out == 7
    assert members.held_s(MAX_STEPS + 7.0) > MAX_STEPS
