"""The adapter on vLLM's real scheduler and KV manager, in virtual time."""

import logging

import numpy as np
import pytest
from vllm.v1.core.sched.interface import PauseState
from vllm.v1.request import RequestStatus

from bench.load import PlannedStream
from bench.replay.engine import VirtualEngine
from qoe import Expectation, area_qoe

READER = Expectation(ttft_s=1.0, tds=5.0)


def scores(engine: VirtualEngine, arrivals: list[PlannedStream]) -> np.ndarray:
    return np.array(
        [
            area_qoe(np.array(engine.delivered_at_s[str(i)]) - a.arrival_s, a.expectation)
            for i, a in enumerate(arrivals)
        ]
    )


def test_light_load_is_served_exactly_as_vllm_serves_it(make_engine, burst) -> None:
    arrivals = burst(6, input_tokens=40, output_tokens=30)
    engines = [make_engine(128, settings={"policy": p}) for p in ("andes", "fcfs")]
    for engine in engines:
        engine.run(arrivals)
    assert engines[0].delivered_at_s == engines[1].delivered_at_s
    assert engines[0].scheduler.streams.preemptions_total == 0


def test_under_pressure_readers_fare_better_than_first_come_first_served(
    make_engine,
    burst,
) -> None:
    arrivals = burst(40)
    andes, fcfs = (make_engine(settings={"policy": p}) for p in ("andes", "fcfs"))
    andes.run(arrivals)
    fcfs.run(arrivals)
    assert scores(andes, arrivals).mean() > 1.5 * scores(fcfs, arrivals).mean()
    assert np.percentile(scores(andes, arrivals), 5) > np.percentile(
        scores(fcfs, arrivals), 5
    )


def test_every_stream_gets_every_token_whatever_happens_to_it(make_engine, burst) -> None:
    engine = make_engine(settings={"max_preemptions": 100, "min_residency_s": 0.0})
    arrivals = burst(40)
    engine.run(arrivals)
    assert engine.scheduler.streams.preemptions_total > 20
    assert all(len(times) == 100 for times in engine.delivered_at_s.values())
    assert engine.scheduler.plan_failures_total == 0


def test_no_stream_is_preempted_by_us_more_often_than_allowed(make_engine, burst) -> None:
    engine = make_engine(settings={"max_preemptions": 1})
    seen: dict[str, int] = {}
    original = engine.scheduler._preempt_request

    def counted(request, *args, **kwargs):
        seen[request.request_id] = seen.get(request.request_id, 0) + 1
        return original(request, *args, **kwargs)

    engine.scheduler._preempt_request = counted
    plan_victims: list[str] = []
    apply = engine.scheduler._apply

    def recorded(decided):
        running = engine.scheduler.running
        plan_victims.extend(running[i].request_id for i in decided.preempt)
        return apply(decided)

    engine.scheduler._apply = recorded
    engine.run(burst(40))
    assert plan_victims
    assert max(plan_victims.count(v) for v in plan_victims) == 1


def test_a_failing_planner_leaves_plain_vllm_a_counter_and_one_log_line(
    make_engine, burst, monkeypatch, caplog
) -> None:
    class Broken:
        def plan(self, snapshot):
            raise ZeroDivisionError("planner bug")

    arrivals = burst(30)
    fcfs, failing = make_engine(settings={"policy": "fcfs"}), make_engine()
    fcfs.run(arrivals)
    failing.scheduler._policy = Broken()
    monkeypatch.setattr(logging.getLogger("vllm"), "propagate", True)
    with caplog.at_level(logging.ERROR):
        failing.run(arrivals)
    assert failing.delivered_at_s == fcfs.delivered_at_s
    assert failing.scheduler.plan_failures_total > 10
    assert len([r for r in caplog.records if "plain vLLM" in r.message]) == 1


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


@pytest.mark.parametrize("steps", [3, 30])
def test_aborting_running_and_held_streams_frees_everything(
    make_engine, burst, steps
) -> None:
    engine = make_engine()
    for number, arrival in enumerate(burst(20)):
        engine.submit(str(number), arrival)
    for _ in range(steps):
        engine.step()
    assert engine.scheduler._num_held > 0
    engine.scheduler.finish_requests(None, RequestStatus.FINISHED_ABORTED)
    engine.step()
    assert engine.scheduler.get_num_unfinished_requests() == 0


def test_a_stream_that_fills_the_whole_memory_is_served_in_the_end(
    make_engine, burst
) -> None:
    engine = make_engine()
    giant = PlannedStream(0.2, 440, 60, READER)
    arrivals = [giant, *burst(60, output_tokens=40)]
    engine.run(arrivals)
    assert len(engine.delivered_at_s["0"]) == 60
    longest_wait_s = engine.delivered_at_s["0"][0] - giant.arrival_s
    assert longest_wait_s < engine.scheduler.settings.max_late_s + 10.0


def test_a_paused_engine_plans_nothing(make_engine, burst) -> None:
    engine = make_engine()
    for number, arrival in enumerate(burst(20)):
        engine.submit(str(number), arrival)
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
    engine = make_engine()
    for number, arrival in enumerate(burst(20)):
        engine.submit(str(number), arrival)
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


def test_a_bad_expectation_inside_the_engine_falls_back_to_the_default(
    make_engine, burst
) -> None:
    engine = make_engine(settings={"default_tds": 9.0})
    engine.submit("a", burst(1)[0])
    request = engine.scheduler.requests["a"]
    request.sampling_params.extra_args = {"qoe_tds": "fast"}
    assert engine.scheduler._expectation(request) == Expectation(1.0, 9.0)
    engine.scheduler.finish_requests("a", RequestStatus.FINISHED_ABORTED)


def test_time_spent_before_the_engine_counts_for_the_reader(make_engine) -> None:
    engine = make_engine()
    engine.now_s = 100.0
    engine.submit("a", PlannedStream(97.0, 50, 5, READER))
    slot = engine.scheduler.streams.slots(["a"])
    assert engine.scheduler.streams.readers.arrived_at_s[slot][0] == pytest.approx(97.0)
    while engine.scheduler.has_unfinished_requests():
        engine.step()
