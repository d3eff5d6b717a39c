import logging

import pytest

from scheduler.guard import Guard


@pytest.fixture
def guard() -> Guard:
    return Guard(logging.getLogger("test_guard"))


def test_a_failure_is_counted_and_only_the_first_is_logged(guard, caplog) -> None:
    for what in ("planning", "tracking"):
        with guard(what):
            raise ValueError("no")
    assert guard.failures_total == 2
    (said,) = caplog.records
    assert said.message == "Andes failed at planning; these steps are plain vLLM."
    assert said.exc_info is not None


def test_an_inner_failure_does_not_end_the_outer_work(guard) -> None:
    went_on = False
    with guard("planning"):
        with guard("tracking"):
            raise ValueError("no")
        went_on = True
    assert went_on
    assert guard.failures_total == 1


def test_what_stops_the_process_is_not_held_back(guard) -> None:
    with pytest.raises(KeyboardInterrupt), guard("planning"):
        raise KeyboardInterrupt
    assert guard.failures_total == 0
