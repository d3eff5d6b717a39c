"""Whatever of ours fails in a step, and wherever: vLLM serves every stream."""

from operator import attrgetter

import pytest

# What a step calls of ours, by its place in the scheduler; for plans see
# `test_andes_safety.py`.
CALLED = [
    "_end_unfit",
    "_end_in_vain",
    "_cached_tokens",
    "_engine_state",
    "_plan_clock.is_due",
    "_plan_clock.is_in_time",
    "_report",
    "_sparing",
    "_take_back_skipped",
    "activity.applied",
    "feedback.deliver",
    "patience.begin",
    "patience.in_vain",
    "reasoning.begin",
    "resumes.resumed",
    "step_time.fitted",
    "step_time.step_ended",
    "streams.add",
    "streams.admitted",
    "streams.delivered",
    "streams.flush",
    "streams.preempted",
    "streams.slots",
    "streams.tenants.leave",
]


@pytest.mark.parametrize("depth", [1, 2], ids=["in turn", "overlapped"])
@pytest.mark.parametrize("name", CALLED)
def test_what_fails_in_a_step_costs_nobody_a_token(
    start, burst, monkeypatch, name, depth
) -> None:
    """It fails at the first and every third call, with its work done."""
    engine = start(depth=depth, settings={"default_patience_s": 600.0})
    scheduler = engine.scheduler
    owner, _, method = name.rpartition(".")
    of = attrgetter(owner)(scheduler) if owner else scheduler
    original, calls = getattr(of, method), []

    def failing(*args, **kwargs):
        calls.append(args)
        done = original(*args, **kwargs)
        if len(calls) % 3 == 1:
            raise ZeroDivisionError(name)
        return done

    monkeypatch.setattr(of, method, failing)
    engine.run(burst(30, output_tokens=40))
    assert [len(times) for times in engine.delivered_at_s.values()] == [40] * 30
    assert scheduler.plan_failures_total > 0
