"""Whatever fails, ends or is paused: the engine goes on, and nobody is forgotten."""

import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest
from vllm.v1.core.sched.interface import PauseState
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import RequestStatus

from scheduler.snapshot import NOBODY, Plan


def test_a_failing_planner_leaves_plain_vllm_a_counter_and_one_log_line(
    make_engine, burst, monkeypatch, caplog
) -> None:
    class Broken:
        def plan(self, snapshot):
            raise ZeroDivisionError("planner bug")

    arrivals = burst(30)
    fcfs = make_engine(settings={"policy": "fcfs"})
    failing = make_engine(policy=Broken())
    fcfs.run(arrivals)
    monkeypatch.setattr(logging.getLogger("vllm"), "propagate", True)
    with caplog.at_level(logging.ERROR):
        failing.run(arrivals)
    assert failing.delivered_at_s == fcfs.delivered_at_s
    assert failing.scheduler.plan_failures_total > 10
    assert len([r for r in caplog.records if "plain vLLM" in r.message]) == 1


def test_after_a_failed_plan_nothing_of_the_last_one_is_left(
    make_engine, burst, scripted
) -> None:
    policy = scripted(
        rewrite=lambda plan: Plan(plan.admit[:1], NOBODY, plan.keep, token_budget=5),
        fails=True,
    )
    engine = make_engine(
        256,
        policy=policy,
        plans_every_step=True,
        load=burst(12, output_tokens=20),
    )
    withheld = {True: 0, False: 0}
    most_tokens = {True: 0, False: 0}
    while engine.scheduler.has_unfinished_requests():
        tokens = engine.step().total_num_scheduled_tokens
        failed = policy.planned % 2 == 0
        withheld[failed] += engine.scheduler._num_withheld
        most_tokens[failed] = max(most_tokens[failed], tokens)
    assert withheld[False] > 0
    assert withheld[True] == 0
    assert most_tokens[False] <= 5
    assert most_tokens[True] > 100
    assert engine.scheduler.plan_failures_total == policy.planned // 2


def test_a_plan_that_forgets_a_running_stream_is_a_plain_vllm_step(
    make_engine, burst, scripted
) -> None:
    def forget_one(plan: Plan) -> Plan:
        return Plan(plan.admit[::-1], NOBODY, plan.keep[1:], 7) if plan.keep.size else plan

    arrivals = burst(30)
    fcfs = make_engine(settings={"policy": "fcfs"})
    forgetful = make_engine(policy=scripted(rewrite=forget_one))
    fcfs.run(arrivals)
    forgetful.run(arrivals)
    assert forgetful.delivered_at_s == fcfs.delivered_at_s
    assert forgetful.scheduler.plan_failures_total > 10


def twice(indices):
    return np.concatenate((indices, indices))


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda plan: Plan(twice(plan.admit), NOBODY, plan.keep),
        lambda plan: Plan(plan.admit + 1, NOBODY, plan.keep),
        lambda plan: Plan(plan.admit, NOBODY, np.full_like(plan.keep, 0)),
        lambda plan: Plan(plan.admit, NOBODY, plan.keep, token_budget=-1),
        lambda plan: Plan(plan.admit, NOBODY, plan.keep, token_budget="many"),
        lambda plan: Plan(list(plan.admit), NOBODY, plan.keep, token_budget=None),
        lambda plan: "no plan at all",
        lambda plan: SimpleNamespace(admit=plan.admit[:1], preempt=NOBODY, keep=plan.keep),
    ],
    ids=["twice", "nobody", "lost", "no token", "no number", "a list", "no plan", "half"],
)
def test_whatever_a_policy_from_elsewhere_says_is_a_plain_vllm_step(
    make_engine, burst, scripted, rewrite
) -> None:
    arrivals = burst(30)
    fcfs = make_engine(settings={"policy": "fcfs"})
    wild = make_engine(policy=scripted(rewrite=rewrite))
    fcfs.run(arrivals)
    wild.run(arrivals)
    assert wild.delivered_at_s == fcfs.delivered_at_s
    assert wild.scheduler.plan_failures_total > 10


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_preemption_that_fails_loses_nobody(
    make_engine, burst, scripted, monkeypatch, moment
) -> None:
    """In the middle of a plan that gives up two streams, before or after vLLM's part."""
    engine = make_engine(256, load=burst(6, output_tokens=20))
    scheduler = engine.scheduler
    engine.step()
    preempt, calls = scheduler._preempt_request, []

    def failing(victim, *args, **kwargs) -> None:
        calls.append(victim)
        if moment == "after" or len(calls) == 1:
            preempt(victim, *args, **kwargs)
        if len(calls) == 2:
            raise RuntimeError("preemption bug")

    def give_up_two(plan: Plan) -> Plan:
        if calls or plan.keep.size < 4:
            return plan
        return Plan(plan.admit, plan.keep[:2], plan.keep[2:])

    monkeypatch.setattr(scheduler, "_preempt_request", failing)
    scheduler._policy = scripted(rewrite=give_up_two)
    scheduler._plan_clock.planned_at_s = -math.inf
    engine.step()
    assert len(calls) == 2
    assert scheduler.plan_failures_total == 1
    monkeypatch.setattr(scheduler, "_preempt_request", preempt)
    while scheduler.has_unfinished_requests():
        engine.step()
    assert [len(t) for t in engine.delivered_at_s.values()] == [20] * 6


def test_sockets_that_do_not_close_leave_vllm_to_shut_down(
    make_engine, monkeypatch
) -> None:
    engine = make_engine()
    monkeypatch.setattr(engine.scheduler._reporter, "close", lambda: 1 / 0)
    closed = []

    def shut_down(scheduler: Scheduler) -> None:
        closed.append(scheduler)

    monkeypatch.setattr(Scheduler, "shutdown", shut_down)
    engine.scheduler.shutdown()
    assert closed == [engine.scheduler]


def test_an_idle_engine_withholds_nobody(make_engine, burst, scripted) -> None:
    engine = make_engine(policy=scripted(admits=False), load=burst(6))
    withheld_while_busy = 0
    while engine.scheduler.has_unfinished_requests():
        is_idle = not engine.scheduler.running
        output = engine.step()
        new = output.scheduled_new_reqs
        resumed = output.scheduled_cached_reqs.resumed_req_ids
        assert bool(new or resumed) == is_idle
        withheld_while_busy += engine.scheduler._num_withheld > 0
    assert withheld_while_busy > 0
    assert [len(t) for t in engine.delivered_at_s.values()] == [100] * 6
    assert engine.scheduler.plan_failures_total == 0


def test_an_engine_whose_streams_all_shall_leave_serves_them(
    make_engine, burst, scripted
) -> None:
    def all_leave(plan: Plan) -> Plan:
        return Plan(NOBODY, plan.keep, NOBODY, token_budget=1)

    engine = make_engine(
        policy=scripted(rewrite=all_leave), load=burst(6, output_tokens=20)
    )
    while engine.scheduler.has_unfinished_requests():
        assert engine.step().num_scheduled_tokens
    assert [len(t) for t in engine.delivered_at_s.values()] == [20] * 6


def test_a_stream_the_tracker_lost_does_not_stop_the_engine(make_engine, burst) -> None:
    engine = make_engine()
    arrivals = burst(20)
    original = engine.scheduler.streams.add

    def forgetful(request_id, *args, **kwargs):
        if request_id == "3":
            raise MemoryError("no room")
        original(request_id, *args, **kwargs)

    engine.scheduler.streams.add = forgetful
    engine.run(arrivals)
    assert all(len(times) == 100 for times in engine.delivered_at_s.values())
    assert engine.scheduler.plan_failures_total > 0


def test_a_prompt_that_cannot_be_looked_up_is_a_stream_all_the_same(
    make_engine, burst, monkeypatch
) -> None:
    engine = make_engine()
    monkeypatch.setattr(engine.scheduler, "_cached_tokens", lambda request: 1 / 0)
    arrivals = burst(30)
    engine.run(arrivals)
    assert engine.scheduler.streams.finished_total == 30
    # One failure a stream, and no plan fails for it.
    assert engine.scheduler.plan_failures_total == 30


@pytest.mark.parametrize("steps", [3, 30])
def test_aborting_running_and_withheld_streams_frees_everything(
    make_engine, burst, steps
) -> None:
    engine = make_engine(load=burst(20))
    for _ in range(steps):
        engine.step()
    assert engine.scheduler._num_withheld > 0
    engine.scheduler.finish_requests(None, RequestStatus.FINISHED_ABORTED)
    engine.step()
    assert engine.scheduler.get_num_unfinished_requests() == 0


def test_a_paused_engine_plans_nothing(make_engine, burst) -> None:
    engine = make_engine(load=burst(20))
    engine.step()
    engine.scheduler.set_pause_state(PauseState.PAUSED_ALL)
    waiting, running = len(engine.scheduler.waiting), len(engine.scheduler.running)
    assert engine.step().total_num_scheduled_tokens == 0
    assert (len(engine.scheduler.waiting), len(engine.scheduler.running)) == (
        waiting,
        running,
    )
    engine.scheduler.set_pause_state(PauseState.UNPAUSED)
    while engine.scheduler.has_unfinished_requests():
        engine.step()


def test_blocks_still_in_flight_are_not_counted_on(make_engine, burst) -> None:
    """vLLM 0.29 with a KV connector frees the blocks of in-flight victims later."""
    engine = make_engine(load=burst(20))
    engine.step()
    engine.scheduler.defer_block_free = True
    engine.scheduler.processed_step_seq = 5
    for request in engine.scheduler.running:
        request.last_sched_seq = 5
    engine.scheduler.running[0].last_sched_seq = 6
    can_free = engine.scheduler._can_free()
    assert not can_free[0]
    assert can_free[1:].all()
    engine.scheduler.defer_block_free = False
    while engine.scheduler.has_unfinished_requests():
        engine.step()
