import numpy as np
import pytest

from bench.errors import UserError
from bench.replay.workload import is_possible, plan_workload
from qoe import PROFILES

LENGTHS = "num_prefill_tokens,num_decode_tokens\n1000,10\n2000,20\n3000,30\n"


@pytest.fixture
def lengths(tmp_path):
    path = tmp_path / "lengths.csv"
    path.write_text(LENGTHS)
    return path


def test_a_trace_is_sent_as_it_is_and_to_readers_of_the_population(make_cell) -> None:
    streams = plan_workload(make_cell())
    assert len(streams) == 60
    assert [s.arrival_s for s in streams] == pytest.approx(0.01 * np.arange(60))
    assert (streams[1].input_tokens, streams[1].output_tokens) == (107, 51)
    paces = {tds for _, tds in PROFILES["reading"].mix}
    assert {s.expectation.ttft_s for s in streams} == {1.0}
    assert {s.expectation.tds for s in streams} <= paces
    assert len({s.expectation.tds for s in streams}) > 1


def test_lengths_of_one_stream_come_from_one_row(make_cell, lengths) -> None:
    streams = plan_workload(make_cell(lengths=lengths))
    pairs = {(s.input_tokens, s.output_tokens) for s in streams}
    assert pairs == {(1000, 10), (2000, 20), (3000, 30)}


def test_the_seed_decides_the_whole_load(make_cell, lengths) -> None:
    options = {"synthetic": True, "rate": 2.0, "cycle_s": 60.0, "lengths": lengths}
    first, again = (plan_workload(make_cell(seed=7, **options)) for _ in range(2))
    assert first == again
    assert first != plan_workload(make_cell(seed=8, **options))


def test_a_rate_stretches_the_time_of_a_trace(make_cell) -> None:
    streams = plan_workload(make_cell(rate=2.0))
    assert (len(streams) - 1) / streams[-1].arrival_s == pytest.approx(2.0)
    assert len(plan_workload(make_cell(rate=2.0, duration_s=9.9))) == 20


def test_intensity_1_is_plain_poisson(make_cell) -> None:
    options = {"synthetic": True, "rate": 50.0, "cycle_s": 100.0, "intensity": 1.0}
    arrivals_s = np.array([s.arrival_s for s in plan_workload(make_cell(**options))])
    gaps_s = np.diff(arrivals_s)
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(1.0, abs=0.05)
    counts, _ = np.histogram(arrivals_s, 10, (0, 100))
    assert counts.max() / counts.min() < 1.4


def test_a_long_prompt_may_take_longer_to_answer(make_cell, lengths) -> None:
    lengths.write_text("input_tokens,output_tokens\n20000,5\n100,5\n")
    streams = plan_workload(make_cell(lengths=lengths, ttft_s="input/5000"))
    expected = {s.input_tokens: s.expectation.ttft_s for s in streams}
    assert expected == {20000: 4.0, 100: 1.0}


def test_a_pace_may_be_a_number_or_a_population(make_cell) -> None:
    fixed = plan_workload(make_cell(tds=9.5))
    assert {s.expectation.tds for s in fixed} == {9.5}
    listening = {s.expectation.tds for s in plan_workload(make_cell(tds="listening"))}
    assert listening <= {tds for _, tds in PROFILES["listening"].mix}
    assert 3.23 in listening


def test_a_load_without_requests_is_refused(make_cell) -> None:
    quiet = make_cell(synthetic=True, rate=0.001, duration_s=0.1)
    with pytest.raises(UserError, match="no request arrives"):
        plan_workload(quiet)


def test_one_request_is_a_load_but_has_no_rate(make_cell, trace) -> None:
    trace.write_text("arrival_s,input_tokens,output_tokens\n3,10,10\n")
    assert len(plan_workload(make_cell())) == 1
    with pytest.raises(UserError, match="arrive at one moment"):
        plan_workload(make_cell(rate=1.0))


def test_a_stream_is_possible_up_to_the_limit_itself(make_cell) -> None:
    stream = plan_workload(make_cell())[0]
    assert is_possible(stream, 140)
    assert not is_possible(stream, 139)
