import pickle

import numpy as np
import pytest

pytest.importorskip("vllm")

from bench.errors import UserError
from bench.replay.run import replay
from bench.replay.schedulers import SCHEDULERS


def without_plan_ms(run) -> dict[str, object]:
    return {key: value for key, value in run.row().items() if key != "plan_ms"}


@pytest.mark.parametrize("resume", ["recompute", "offload"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_same_cell_is_the_same_run(make_cell, scheduler, resume) -> None:
    cell = make_cell(scheduler=scheduler, resume=resume)
    first, again = replay(cell), replay(cell)
    assert without_plan_ms(first) == without_plan_ms(again)
    assert np.array_equal(first.scores.area, again.scores.area)
    assert first.plan_failures == 0
    assert first.scores.tokens.tolist() == [40 + 11 * (i % 7) for i in range(60)]


def test_the_load_is_more_than_the_engine_holds(make_cell) -> None:
    # Or the tests of this file would compare schedulers that have nothing to decide.
    assert replay(make_cell(scheduler="fcfs")).summary.peak_waiting > 20


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_stream_as_large_as_the_engine_is_served_and_a_larger_one_refused(
    make_cell, trace, scheduler
) -> None:
    rows = ["0,600,200", "0.01,100,60", "0.02,600,201", "0.03,50,20", "0.04,40000,5"]
    trace.write_text("\n".join(["arrival_s,input_tokens,output_tokens", *rows]))
    run = replay(make_cell(scheduler=scheduler, kv_tokens=800))
    assert run.scores.tokens.tolist() == [200, 60, 0, 20, 0]
    assert run.scores.area[[2, 4]].tolist() == [0, 0]
    assert (run.summary.requests, run.summary.refused) == (5, 2)
    assert run.summary.mean_qoe_area == pytest.approx(run.scores.area.sum() / 5)


def test_a_request_longer_than_the_model_allows_is_refused(make_cell, trace) -> None:
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,32768,1\n0,32767,1\n")
    run = replay(make_cell(kv_tokens=100_000))
    assert run.scores.tokens.tolist() == [0, 1]


def test_a_run_in_which_all_are_refused_has_only_zeros(make_cell) -> None:
    run = replay(make_cell(kv_tokens=16))
    assert run.summary.refused == run.summary.requests == 60
    assert (run.summary.mean_qoe_area, run.summary.tokens_per_s) == (0, 0)
    assert run.summary.ttft_s.mean is None


def test_one_stream_alone_takes_what_the_profile_says(make_cell, trace) -> None:
    trace.write_text("arrival_s,input_tokens,output_tokens\n2,101,2\n")
    run = replay(make_cell(scheduler="fcfs"))
    decode_s = (6.7701 + 0.06997) * 1e-3
    # The last prompt token is charged as the decode that it also is.
    prefill_s = (0.016139 * 100 + 7.961e-07 * (101**2 - 1)) * 1e-3
    context_s = 4.307e-05 * 1e-3
    ttft_s = decode_s + prefill_s + 101 * context_s
    assert run.summary.ttft_s.mean == pytest.approx(ttft_s)
    assert run.summary.makespan_s == pytest.approx(2 + ttft_s + decode_s + 102 * context_s)


def test_only_a_scheduler_that_plans_has_a_time_for_it(make_cell) -> None:
    assert replay(make_cell(scheduler="fcfs")).summary.plan_ms.p50 is None
    planned = replay(make_cell(scheduler="andes")).summary.plan_ms
    assert 0 < planned.p50 <= planned.p99


def test_a_cell_and_its_run_can_travel_between_processes(make_cell) -> None:
    cell = make_cell(settings={"max_throughput_loss": "0.2"})
    assert pickle.loads(pickle.dumps(cell)) == cell
    run = replay(cell)
    again = pickle.loads(pickle.dumps(run))
    assert again.row() == run.row()
    assert np.array_equal(again.scores.end_s, run.scores.end_s)


def test_progress_counts_every_stream_and_begins_with_the_refused(make_cell) -> None:
    told: list[tuple[int, int]] = []
    replay(make_cell(kv_tokens=224), lambda ended, total: told.append((ended, total)))
    refused = told[0][0]
    assert 0 < refused < 60
    assert told == [(ended, 60) for ended in range(refused, 61)]


def test_a_bad_setting_is_a_mistake_of_the_user(make_cell) -> None:
    with pytest.raises(UserError, match="--set speed is invalid"):
        replay(make_cell(settings={"speed": "1"}))


def test_a_setting_reaches_the_scheduler(make_cell) -> None:
    often, rarely = (
        replay(make_cell(settings={"max_throughput_loss": loss})) for loss in ("1e-6", "10")
    )
    assert without_plan_ms(often) != without_plan_ms(rarely)


@pytest.mark.parametrize("scheduler", ["fcfs", "andes"])
def test_patience_bounds_every_wait_and_a_refused_stream_counts_with_0(
    make_cell, scheduler
) -> None:
    run = replay(make_cell(scheduler=scheduler, patience_s=3.0))
    refused = run.scores.tokens == 0
    assert 0 < refused.sum() < 60
    assert run.summary.out_of_patience == refused.sum()
    assert run.summary.refused == 0
    assert not run.scores.area[refused].any()
    assert run.summary.mean_qoe_area == pytest.approx(run.scores.area.sum() / 60)
    assert np.nanmax(run.scores.ttft_s) < 3.2
    waiting_s = replay(make_cell(scheduler=scheduler)).scores.ttft_s
    assert np.nanmax(waiting_s) > 3.2
