import pytest

from scheduler.rebuild_budget import RebuildBudget
from scheduler.settings import SchedulerSettings

# Readers who have begun are promised all there is to promise.
FULL = {"promised_tokens_per_s": 90.0, "tokens_per_s": 100.0}


def budget_of(share: float) -> RebuildBudget:
    settings = SchedulerSettings(
        rebuild_share=share, max_rebuild_share=0.5, rebuild_saved_s=5.0, promise_share=0.9
    )
    return RebuildBudget(settings)


@pytest.fixture
def emptied() -> RebuildBudget:
    """A budget of a tenth of the time, at most 5 s, with nothing left at 100 s."""
    budget = budget_of(0.1)
    budget.pass_time(100.0, someone_waits=True, **FULL)
    budget.spend(5.0)
    return budget


def test_calm_times_before_the_first_request_have_filled_it() -> None:
    budget = budget_of(0.1)
    assert budget.left_s == 5.0
    budget.pass_time(1e6, someone_waits=True, **FULL)
    assert budget.left_s == 5.0


def test_while_someone_waits_only_the_share_is_saved(emptied) -> None:
    emptied.pass_time(110.0, someone_waits=True, **FULL)
    assert emptied.left_s == pytest.approx(1.0)


def test_while_nobody_waits_all_the_time_is_saved(emptied) -> None:
    emptied.pass_time(102.0, someone_waits=False, **FULL)
    assert emptied.left_s == pytest.approx(2.0)


def test_each_second_is_saved_once_and_at_its_own_rate(emptied) -> None:
    emptied.pass_time(101.0, someone_waits=False, **FULL)
    emptied.pass_time(111.0, someone_waits=True, **FULL)
    emptied.pass_time(111.0, someone_waits=False, **FULL)
    assert emptied.left_s == pytest.approx(2.0)


@pytest.mark.parametrize("someone_waits", [True, False])
def test_no_more_than_the_cap_is_saved(emptied, someone_waits) -> None:
    emptied.pass_time(1000.0, someone_waits, **FULL)
    assert emptied.left_s == 5.0


def test_it_can_be_overdrawn_and_is_then_paid_back_first(emptied) -> None:
    emptied.spend(3.0)
    assert emptied.left_s == pytest.approx(-3.0)
    emptied.pass_time(104.0, someone_waits=False, **FULL)
    assert emptied.left_s == pytest.approx(1.0)


def test_a_share_of_zero_saves_nothing_while_someone_waits() -> None:
    budget = budget_of(0.0)
    budget.pass_time(100.0, someone_waits=True, **FULL)
    budget.spend(5.0)
    budget.pass_time(1000.0, someone_waits=True, **FULL)
    assert budget.left_s == 0.0


def test_what_the_prefix_cache_still_holds_is_not_paid_for(emptied) -> None:
    for _ in range(200):
        emptied.resumed(cached_tokens=75, tokens=100)
    assert emptied.computed_share == pytest.approx(0.25, abs=0.01)
    emptied.spend(1.0)
    assert emptied.left_s == pytest.approx(-emptied.computed_share)


@pytest.mark.parametrize(
    ("promised_tokens_per_s", "share"),
    [(0.0, 0.5), (45.0, 0.5), (67.5, 0.25), (81.0, 0.1), (90.0, 0.1), (1e6, 0.1)],
)
def test_tokens_that_nobody_is_promised_may_pay_for_memory(
    emptied, promised_tokens_per_s, share
) -> None:
    emptied.pass_time(104.0, True, promised_tokens_per_s, tokens_per_s=100.0)
    assert emptied.left_s == pytest.approx(4.0 * share)


def test_before_the_first_step_only_the_share_is_saved(emptied) -> None:
    emptied.pass_time(104.0, True, 0.0, tokens_per_s=0.0)
    assert emptied.left_s == pytest.approx(0.4)
