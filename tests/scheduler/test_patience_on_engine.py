"""Patience on vLLM's real scheduler, in virtual time."""

import dataclasses

import pytest

from bench.load import PlannedStream
from qoe import Expectation
from scheduler.patience import retry_after_of

READER = Expectation(1.0, 5.0)


def patient(streams, patience_s: float) -> list[PlannedStream]:
    reader = dataclasses.replace(READER, patience_s=patience_s)
    return [dataclasses.replace(s, expectation=reader) for s in streams]


def refused_of(engine) -> int:
    return engine.scheduler.streams.refused_total


@pytest.mark.parametrize("policy", ["andes", "fcfs"])
def test_who_waits_in_vain_is_refused_in_time_and_the_others_get_all(
    make_engine, burst, policy
) -> None:
    engine = make_engine(settings={"policy": policy})
    streams = patient(burst(40), 4.0)
    ended: dict[str, tuple[float, list[float]]] = {}
    engine._on_done = lambda name, times: ended.update({name: (engine.now_s, times)})
    engine.run(streams)
    refused = {name: at_s for name, (at_s, times) in ended.items() if not times}
    assert 5 < len(refused) < 35
    for name, at_s in refused.items():
        assert at_s - streams[int(name)].arrival_s == pytest.approx(4.0, abs=0.1)
    for name, (_, times) in ended.items():
        if times:
            assert len(times) == 100
            assert times[0] - streams[int(name)].arrival_s < 4.1
    assert refused_of(engine) == len(refused)
    assert engine.scheduler.plan_failures_total == 0
    assert not len(engine.scheduler.patience)
    # Nobody wrote what was refused: it says nothing of the length of an answer.
    assert engine.scheduler.streams.mean_output_tokens == 100.0


def test_what_refused_streams_leave_goes_to_those_who_wait_longer(
    make_engine, burst
) -> None:
    def first_s(patience_s: float) -> list[float]:
        engine = make_engine(settings={"policy": "fcfs"})
        streams = burst(40)
        streams[:30] = [streams[0], *patient(streams[1:30], patience_s)]
        engine.run(streams)
        return [engine.delivered_at_s[str(i)][0] for i in range(30, 40)]

    assert max(first_s(2.0)) < 0.5 * max(first_s(600.0))


def test_a_prompt_that_takes_longer_than_its_patience_is_refused_at_once(
    make_engine, burst
) -> None:
    engine = make_engine(512, max_num_batched_tokens=512)
    # The engine learns from others what a prompt costs: 0.1 ms a token.
    engine.run(burst(20, input_tokens=200, output_tokens=20))
    began_s = engine.now_s
    (stream,) = patient([PlannedStream(began_s, 6000, 5, READER)], 0.3)
    engine.submit("long", stream)
    while engine.scheduler.has_unfinished_requests():
        engine.step()
    assert engine.delivered_at_s["long"] == []
    assert engine.now_s - began_s < 0.15


def test_a_prompt_in_the_cache_is_no_reason_to_refuse(make_engine, burst) -> None:
    engine = make_engine(512, max_num_batched_tokens=512)
    engine.run(burst(20, input_tokens=200, output_tokens=20))
    number = engine._tokens.count
    engine.submit("first", PlannedStream(engine.now_s, 6000, 5, READER))
    while engine.scheduler.has_unfinished_requests():
        engine.step()
    # The same tokens again.
    engine._tokens.count = number
    (again,) = patient([PlannedStream(engine.now_s, 6000, 5, READER)], 0.3)
    engine.submit("again", again)
    while engine.scheduler.has_unfinished_requests():
        engine.step()
    assert len(engine.delivered_at_s["again"]) == 5


def test_a_stream_that_has_begun_is_never_refused(make_engine, burst) -> None:
    engine = make_engine()
    engine.run(patient(burst(2), 1.0))
    assert [len(engine.delivered_at_s[str(i)]) for i in range(2)] == [100, 100]
    assert engine.now_s > 2.0
    assert refused_of(engine) == 0


def test_a_deployments_patience_is_that_of_requests_that_say_nothing(
    make_engine, burst
) -> None:
    engine = make_engine(settings={"default_patience_s": 2.0, "policy": "fcfs"})
    streams = burst(40)
    streams[20:] = patient(streams[20:], 600.0)
    engine.run(streams)
    written = [len(engine.delivered_at_s[str(i)]) for i in range(40)]
    assert 0 in written[:20]
    assert written[20:] == [100] * 20


def test_the_client_of_a_refused_stream_is_told_why(make_engine, burst) -> None:
    engine = make_engine(load=patient(burst(40), 1.5))
    told: list[str] = []
    record = engine._record

    def recorded(outputs) -> None:
        told.extend(
            output.stop_reason
            for of_client in outputs.values()
            for output in of_client.outputs
            if output.stop_reason is not None
        )
        record(outputs)

    engine._record = recorded
    while engine.scheduler.has_unfinished_requests():
        engine.step()
    refusals = [reason for reason in told if isinstance(reason, str)]
    assert refusals
    for reason in refusals:
        assert reason.startswith("qoe_patience_s=1.5: no first token could come")
        assert 1 <= retry_after_of(reason) <= 60


@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_leaves_while_it_waits_frees_everything_at_once(
    make_engine, burst, begun
) -> None:
    engine = make_engine(load=patient(burst(40), 600.0))
    scheduler = engine.scheduler

    def waiting() -> list[str]:
        return [r.request_id for r in scheduler.waiting if (r.num_preemptions > 0) == begun]

    while not waiting():
        engine.step()
    gone = waiting()
    for name in gone:
        engine.abort(name)
    assert not set(gone) & set(scheduler.requests)
    assert not any(name in scheduler.streams for name in gone)
    assert not set(gone) & set(scheduler.patience._waits)
    assert not set(gone) & {r.request_id for r in scheduler.waiting}
    while scheduler.has_unfinished_requests():
        engine.step()
    assert scheduler.plan_failures_total == 0
    served = set(map(str, range(40))) - set(gone)
    assert all(len(engine.delivered_at_s[name]) == 100 for name in served)


def test_a_failure_of_ours_leaves_the_engine_running(make_engine, burst) -> None:
    engine = make_engine()
    engine.scheduler.patience.refusal = lambda *_: 1 / 0
    engine.run(patient(burst(40), 1.0))
    assert engine.scheduler.plan_failures_total > 0
    assert all(len(engine.delivered_at_s[str(i)]) == 100 for i in range(40))
