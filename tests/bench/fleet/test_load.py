import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.fleet.load import LoadColumns, continued
from bench.load import PlannedStream
from qoe import Expectation, StreamTable
from qoe.tenant import Tenant

expectations = st.builds(
    Expectation,
    ttft_s=st.floats(0.1, 10.0),
    tds=st.floats(1.0, 20.0),
    weight=st.floats(0.1, 10.0),
)
streams = st.builds(
    PlannedStream,
    arrival_s=st.floats(0.0, 1000.0),
    input_tokens=st.integers(1, 30_000),
    output_tokens=st.integers(1, 30_000),
    expectation=expectations,
    tenant=st.builds(Tenant, st.sampled_from(["", "a", "b"]), st.sampled_from([1.0, 3.0])),
)


@given(st.lists(streams))
def test_a_column_gives_back_the_streams_it_was_made_of(load) -> None:
    columns = LoadColumns(load)
    assert list(columns) == load
    assert columns.arrival_s.tolist() == [stream.arrival_s for stream in load]


@given(
    streams, st.lists(st.floats(0.05, 5.0), min_size=1, max_size=20), st.floats(0.0, 9.0)
)
def test_a_continued_stream_is_as_urgent_as_the_whole_and_as_old(
    whole, gaps_s, later_s
) -> None:
    came_s = whole.arrival_s + np.cumsum(gaps_s)
    rest = continued(whole, came_s)
    assert rest.arrival_s == whole.arrival_s
    assert rest.input_tokens == whole.input_tokens + len(gaps_s)
    assert rest.output_tokens == whole.output_tokens - len(gaps_s)
    assert rest.expectation.tds == whole.expectation.tds
    assert rest.expectation.weight == whole.expectation.weight
    assert rest.tenant == whole.tenant
    now_s = came_s[-1] + later_s
    assert slack_s(rest, [], now_s) == pytest.approx(slack_s(whole, came_s, now_s))


def slack_s(stream: PlannedStream, came_s, now_s: float) -> float:
    table = StreamTable()
    slots = np.array([table.add(stream.expectation, stream.arrival_s)])
    for at_s in came_s:
        table.deliver(slots, np.ones(1), at_s)
    return float(table.slack_s(slots, now_s)[0])
