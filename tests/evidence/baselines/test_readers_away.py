import pytest

from evidence.baselines.lqsf import LqsfPolicy
from evidence.baselines.paper import PaperPolicy
from scheduler.settings import SchedulerSettings


@pytest.mark.parametrize("policy", [LqsfPolicy, PaperPolicy])
def test_who_is_away_gives_way_before_a_reader_with_a_buffer(snapshot_of, policy) -> None:
    just_left = {"tokens": 5, "away": True}
    snapshot = snapshot_of([just_left, {"tokens": 30}], [{"age_s": 0.5}])
    plan = policy(SchedulerSettings()).plan(snapshot)
    assert plan is not None
    assert plan.preempt.tolist() == [0]
