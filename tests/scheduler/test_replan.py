from scheduler.live_streams import LiveStreams
from scheduler.replan import PlanClock


def test_between_plans_nothing_is_due_until_somebody_waits_for_the_next_step() -> None:
    clock, streams = PlanClock(0.05), LiveStreams()
    assert clock.is_due(1.0, streams, 0, idle=False)
    assert not clock.is_due(1.01, streams, 0, idle=False)
    clock.expire()
    assert clock.is_due(1.02, streams, 0, idle=False)
    assert not clock.is_due(1.03, streams, 0, idle=False)
    assert clock.is_due(1.08, streams, 0, idle=False)


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
