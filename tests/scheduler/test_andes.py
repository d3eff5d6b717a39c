"""What readers get of the adapter on vLLM's real scheduler, in virtual time."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from bench.load import PlannedStream
from bench.replay.engine import VirtualEngine
from qoe import PROFILES, Expectation, area_qoe, stall_s

READER = Expectation(ttft_s=1.0, tds=5.0)


def scores(engine: VirtualEngine, arrivals: list[PlannedStream]) -> np.ndarray:
    return np.array(
        [
            area_qoe(np.array(engine.delivered_at_s[str(i)]) - a.arrival_s, a.expectation)
            for i, a in enumerate(arrivals)
        ]
    )


def stalls_s(engine: VirtualEngine, arrivals: list[PlannedStream]) -> np.ndarray:
    return np.array(
        [
            stall_s(engine.delivered_at_s[str(i)], a.expectation)
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
    andes = make_engine()
    fcfs = make_engine(settings={"policy": "fcfs"})
    andes.run(arrivals)
    fcfs.run(arrivals)
    assert scores(andes, arrivals).mean() > 1.5 * scores(fcfs, arrivals).mean()


def test_every_stream_gets_every_token_whatever_happens_to_it(make_engine, burst) -> None:
    engine = make_engine(settings={"max_throughput_loss": 10.0}, plans_every_step=True)
    arrivals = burst(40)
    engine.run(arrivals)
    assert engine.scheduler.streams.preemptions_total > 20
    assert all(len(times) == 100 for times in engine.delivered_at_s.values())
    assert engine.scheduler.plan_failures_total == 0


def test_a_stream_that_fills_the_whole_memory_is_served_in_the_end(
    make_engine, burst
) -> None:
    engine = make_engine()
    giant = PlannedStream(0.2, 440, 60, READER)
    arrivals = [giant, *burst(60, output_tokens=40)]
    engine.run(arrivals)
    assert len(engine.delivered_at_s["0"]) == 60


def test_time_spent_before_the_engine_counts_for_the_reader(make_engine) -> None:
    engine = make_engine()
    engine.now_s = 100.0
    engine.submit("a", PlannedStream(97.0, 50, 5, READER))
    slot = engine.scheduler.streams.slots(["a"])
    assert engine.scheduler.streams.readers.arrived_at_s[slot][0] == pytest.approx(97.0)
    while engine.scheduler.has_unfinished_requests():
        engine.step()


def first_tokens_s(engine: VirtualEngine, arrivals: list[PlannedStream]) -> np.ndarray:
    """Run the load; how long each waited for its first token. Nobody may lose one."""
    engine.run(arrivals)
    assert all(len(times) == 100 for times in engine.delivered_at_s.values())
    return np.array(
        [engine.delivered_at_s[str(i)][0] - a.arrival_s for i, a in enumerate(arrivals)]
    )


def test_readers_who_count_for_more_are_won_first(make_engine, burst) -> None:
    readers = [
        dataclasses.replace(stream, expectation=Expectation(1.0, 5.0, weight=weight))
        for stream, weight in zip(burst(40), [1.0, 5.0] * 20, strict=True)
    ]
    first_s = first_tokens_s(make_engine(), readers)
    assert first_s[1::2].mean() < 0.9 * first_s[0::2].mean()


def test_jobs_get_what_readers_leave(make_engine, burst) -> None:
    nobody = PROFILES["none"].expectation
    jobs = [dataclasses.replace(stream, expectation=nobody) for stream in burst(10)]
    first_s = first_tokens_s(make_engine(), [*burst(40), *jobs])
    assert first_s[40:].mean() > first_s[:40].mean()


def test_what_resumes_found_in_the_prefix_cache_makes_the_next_ones_cheaper(
    make_engine,
) -> None:
    engine = make_engine()
    # Those who come need less than the large one leaves, and some of it stays cached.
    small = [PlannedStream(7.0 + second, 40, 20, READER) for second in range(6)]
    engine.run([PlannedStream(0.0, 60, 430, READER), *small])
    assert engine.scheduler.resumes.resumes_total > 0
    assert 0.0 < engine.scheduler.resumes.computed_share < 1.0


class Backwards(set):
    """A set as another process may have it."""

    def __iter__(self):
        return iter(sorted(super().__iter__(), reverse=True))


def test_what_resumes_teach_does_not_hang_on_the_order_of_a_set(make_engine, burst) -> None:
    def computed_share(resumed: set[str]) -> float:
        engine = make_engine()
        for number, stream in enumerate(burst(3)):
            engine.submit(str(number), stream)
        engine.step()
        cached = SimpleNamespace(
            req_ids=["0", "1", "2"],
            num_computed_tokens=[0, 16, 48],
            resumed_req_ids=resumed,
        )
        output = SimpleNamespace(scheduled_new_reqs=[], scheduled_cached_reqs=cached)
        engine.scheduler._track_admissions(output)
        share = engine.scheduler.resumes.computed_share
        engine.run([])
        return share

    names = {"0", "1", "2"}
    assert computed_share(names) == computed_share(Backwards(names)) < 1.0
