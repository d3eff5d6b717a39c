"""A plan pulls its levers on vLLM's real scheduler: who comes in, how long a step is."""

import pytest

from scheduler.snapshot import Plan


@pytest.mark.parametrize("plans_every_step", [True, False])
def test_only_whom_the_plan_admits_comes_in_and_in_its_order(
    make_engine, burst, scripted, plans_every_step
) -> None:
    def last_one(plan: Plan) -> Plan:
        return Plan(plan.admit[::-1][:1], plan.preempt, plan.keep)

    engine = make_engine(
        256,
        policy=scripted(rewrite=last_one),
        plans_every_step=plans_every_step,
        load=burst(6, output_tokens=200),
    )
    for _ in range(2):
        engine.step()
        assert "5" in {r.request_id for r in engine.scheduler.running}
    assert len(engine.scheduler.running) == (2 if plans_every_step else 1)
    while engine.scheduler.has_unfinished_requests():
        engine.step()
    assert [len(t) for t in engine.delivered_at_s.values()] == [200] * 6
    assert engine.scheduler.plan_failures_total == 0


@pytest.mark.parametrize("plans_every_step", [True, False])
def test_the_token_budget_of_a_plan_bounds_its_steps(
    make_engine, burst, scripted, plans_every_step
) -> None:
    policy = scripted(token_budget=40)
    engine = make_engine(
        256,
        policy=policy,
        plans_every_step=plans_every_step,
        load=burst(12, input_tokens=200, output_tokens=20),
    )
    # Below `max_num_batched_tokens`, which vLLM checks as well.
    engine.scheduler.max_num_scheduled_tokens = 512
    most_tokens = 0
    for _ in range(20):
        most_tokens = max(most_tokens, engine.step().total_num_scheduled_tokens)
        assert engine.scheduler.max_num_scheduled_tokens == 512
    assert most_tokens == 40
    policy.token_budget = 5000
    # Takes effect with the next plan, and the engine's own limit holds.
    while engine.scheduler.has_unfinished_requests():
        most_tokens = max(most_tokens, engine.step().total_num_scheduled_tokens)
    assert 40 < most_tokens <= 512
