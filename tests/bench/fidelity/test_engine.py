"""The real engine beside its replay, for a few seconds."""

import math
from collections.abc import Iterator

import pytest
import torch

from bench.cli import main
from bench.fidelity.arguments import FidelityArguments
from bench.fidelity.command import ENVIRONMENT
from bench.fidelity.results import METRICS, Pair
from bench.fidelity.run import measure, start_engine
from bench.load import PlannedStream
from qoe import Expectation

# About a hundred blocks of 128 tokens, within 0.2 s, for an engine of 32.
STREAMS = [
    PlannedStream(0.005 * i, 60 + 90 * (i % 5), 30 + 10 * (i % 4), Expectation(0.5, 40.0))
    for i in range(40)
]
TOKENS = sum(stream.output_tokens for stream in STREAMS)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Two would wait for each other, spinning, on a machine that others use too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.engine
@pytest.mark.usefixtures("one_thread")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("policy", "clock"),
    [pytest.param("fcfs", "wall", marks=pytest.mark.nightly), ("andes", "cpu")],
)
def test_engine_and_replay_serve_the_same_load(monkeypatch, policy, clock) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    arguments = FidelityArguments(kv_blocks=33, clock=clock)
    engine = start_engine(arguments, policy)
    try:
        pair = measure(
            engine, arguments, STREAMS, policy=policy, repeat=1, groups=(1, 2, 6)
        )
    finally:
        engine.close()
    assert_same_load(pair)
    for metric in METRICS:
        if metric.is_target:
            assert math.isfinite(metric.error(pair.real, pair.replayed)), metric.name
    assert pair.plan_failures == 0
    assert min(pair.before_ms, pair.after_ms, pair.constants.base_s) > 0.0


def assert_same_load(pair: Pair) -> None:
    for outcome in (pair.real, pair.replayed, pair.replayed_at_speed):
        assert (outcome.requests, outcome.tokens) == (len(STREAMS), TOKENS)
    # Not the point of a short run, but far off would be a replay of something else. By the
    # wall clock a shared machine's pauses are in the real one, and only there.
    last_s = STREAMS[-1].arrival_s
    real_s = pair.real.makespan_s - last_s
    assert 0.1 * real_s < pair.replayed_at_speed.makespan_s - last_s < 1.5 * real_s


@pytest.mark.parametrize(
    ("option", "named"),
    [
        (("--clock", "sun"), "--clock=sun"),
        (("--repeats", "0"), "--repeats=0"),
        (("--kv-blocks", "9"), "--kv-blocks=9"),
        (("--trace", "no.csv"), "no.csv"),
        (("--trace", "no.csv", "--rate", "3"), "--rate shapes a synthetic load"),
    ],
)
def test_a_bad_option_is_one_sentence(capsys, option, named) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["fidelity", *option])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert named in error
    assert len(error.strip().splitlines()) == 1
