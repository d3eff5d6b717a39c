"""A plan pulls its levers on vLLM's real scheduler: who sits out, how long a step is."""

import pytest
from vllm.v1.request import RequestStatus

from bench.replay.engine import VirtualEngine


def blocks_by_stream(engine: VirtualEngine) -> dict[str, list[int]]:
    manager = engine.scheduler.kv_cache_manager
    return {
        r.request_id: list(manager.get_block_ids(r.request_id)[0])
        for r in engine.scheduler.running
    }


@pytest.mark.parametrize("replan_period_s", [0.0, 0.05])
@pytest.mark.parametrize("num_blocks", [32, 256])
def test_streams_that_sit_out_keep_their_memory_and_come_back(
    make_engine, burst, scripted, num_blocks, replan_period_s
) -> None:
    engine = make_engine(
        num_blocks,
        settings={"replan_period_s": replan_period_s},
        policy=scripted(pauses=True),
        load=burst(12),
    )
    scheduler = engine.scheduler
    limits = scheduler.max_num_running_reqs, scheduler.max_num_scheduled_tokens
    times_paused = 0
    while scheduler.has_unfinished_requests():
        before = blocks_by_stream(engine)
        output = engine.step()
        after = blocks_by_stream(engine)
        for request_id in scheduler._paused_ids:
            times_paused += 1
            assert request_id not in output.num_scheduled_tokens
            assert after[request_id] == before[request_id]
        now = scheduler.max_num_running_reqs, scheduler.max_num_scheduled_tokens
        assert now == limits
    assert times_paused > 500
    assert [len(t) for t in engine.delivered_at_s.values()] == [100] * 12
    assert scheduler.plan_failures_total == 0


def test_a_stream_that_sits_out_keeps_its_seat(make_engine, burst, scripted) -> None:
    load = burst(12, output_tokens=20)
    engine = make_engine(256, max_num_seqs=4, policy=scripted(pauses=True), load=load)
    most_running = 0
    while engine.scheduler.has_unfinished_requests():
        engine.step()
        most_running = max(most_running, len(engine.scheduler.running))
    assert most_running == 4


def test_a_stream_can_be_aborted_while_it_sits_out(make_engine, burst, scripted) -> None:
    engine = make_engine(256, policy=scripted(pauses=True), load=burst(6))
    while not engine.scheduler._paused_ids:
        engine.step()
    gone = sorted(engine.scheduler._paused_ids)
    engine.scheduler.finish_requests(gone, RequestStatus.FINISHED_ABORTED)
    while engine.scheduler.has_unfinished_requests():
        engine.step()
    times = engine.delivered_at_s.items()
    assert all(len(at_s) == 100 for request_id, at_s in times if request_id not in gone)
    assert engine.scheduler.plan_failures_total == 0


@pytest.mark.parametrize("replan_period_s", [0.0, 0.05])
def test_the_token_budget_of_a_plan_bounds_its_steps(
    make_engine, burst, scripted, replan_period_s
) -> None:
    policy = scripted(token_budget=40)
    engine = make_engine(
        256,
        settings={"replan_period_s": replan_period_s},
        policy=policy,
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
