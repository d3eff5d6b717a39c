from scheduler.live_streams import LiveStreams
from scheduler.replan import PLAN_BUDGET_S, PlanClock
from scheduler.snapshot import NOBODY, Plan


def test_between_plans_nothing_is_due() -> None:
    clock, streams = PlanClock(0.05), LiveStreams()
    assert clock.is_due(1.0, streams, 0, idle=False)
    assert not clock.is_due(1.01, streams, 0, idle=False)
    assert clock.is_due(1.06, streams, 0, idle=False)


def test_after_a_plan_that_took_too_long_the_engine_is_left_alone_for_a_while() -> None:
    clock, streams = PlanClock(0.05), LiveStreams()
    assert clock.is_in_time(1.0, 1.0 + PLAN_BUDGET_S / 2)
    assert clock.is_due(1.1, streams, 0, idle=True)
    assert not clock.is_in_time(2.0, 3.0)
    # Slow plans take a twentieth of the time.
    assert not clock.is_due(22.9, streams, 0, idle=True)
    assert clock.is_due(23.1, streams, 0, idle=False)


def test_a_plan_over_its_time_is_a_plain_vllm_step_and_counted(
    make_engine, burst, scripted
) -> None:
    arrivals = burst(30)
    fcfs = make_engine(settings={"policy": "fcfs"})
    slow = make_engine(policy=scripted(rewrite=None))
    plan, scheduler = slow.scheduler._policy.plan, slow.scheduler
    late_s = 0.0

    def too_slow(snapshot):
        nonlocal late_s
        late_s += 2 * PLAN_BUDGET_S
        # Worse than what vLLM would do by itself.
        given = plan(snapshot)
        return Plan(given.admit[::-1][:1], NOBODY, given.keep, token_budget=1)

    slow.scheduler._policy.plan = too_slow
    scheduler.now_s = lambda: slow.now_s + late_s
    fcfs.run(arrivals)
    slow.run(arrivals)
    assert slow.delivered_at_s == fcfs.delivered_at_s
    # For 0.2 s each, there is one in four seconds.
    assert 1 <= scheduler.activity.overruns_total <= 1 + slow.now_s / 4
    assert scheduler.plan_failures_total == 0


def test_a_prompt_that_waits_for_another_comes_into_the_step_that_has_room(
    make_engine, burst
) -> None:
    engine = make_engine(max_num_batched_tokens=64)
    for number, stream in enumerate(burst(2, input_tokens=100, output_tokens=3)):
        engine.submit(str(number), stream)
    scheduled = [sum(engine.step().num_scheduled_tokens.values()) for _ in range(3)]
    assert scheduled == [64, 64, 64]
    while engine.scheduler.has_unfinished_requests():
        engine.step()
