import json
import math
import pickle
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.report import SCHEMA, EngineReport
from telemetry.routing_stats import KEY, from_routing_stats, to_routing_stats

MakeReport = Callable[..., EngineReport]


def idle(make_report: MakeReport, **changes: float) -> EngineReport:
    nothing = {"running": 0, "waiting": 0, "preempted": 0, "demand_tokens": 0}
    return make_report(**(nothing | changes))


def test_without_a_report_there_are_no_stats_and_back() -> None:
    assert to_routing_stats(None) == {}
    assert from_routing_stats({}) is None


def test_a_report_survives_the_trip_but_for_rounding(make_report: MakeReport) -> None:
    sent = make_report(demand_tokens=1601, seq=42)
    # Ray carries the dict pickled.
    stats = pickle.loads(pickle.dumps(to_routing_stats(sent)))
    received = from_routing_stats(stats)
    assert received == msgspec.structs.replace(
        sent,
        demand_tokens=1616,
        mean_output_tokens=211.0,
        step_time_s=0.0123,
        qoe_mean=0.99,
        qoe_p5=0.71,
    )


def test_stats_stay_below_one_kilobyte_at_the_largest_values(
    make_report: MakeReport,
) -> None:
    huge = {
        name: 2**63 - 1
        for name in EngineReport.__struct_fields__
        if name not in ("schema", "epoch", "block_size_tokens", "kv_blocks_preemptible")
    }
    stats = to_routing_stats(
        make_report(**huge, epoch="e" * 36, kv_blocks_preemptible=(2**63 - 1,) * 4)
    )
    assert len(json.dumps(stats)) < 1024
    assert len(str(stats)) < 1024
    assert len(pickle.dumps(stats)) < 1024


def test_jitter_below_what_a_router_can_use_changes_nothing(
    make_report: MakeReport,
) -> None:
    """A change of one replica makes Serve send all replicas to all routers."""
    calm = idle(make_report, step_time_s=0.01230, qoe_mean=0.990, mean_output_tokens=211.1)
    jittery = idle(
        make_report, step_time_s=0.01234, qoe_mean=0.9904, mean_output_tokens=211.4
    )
    assert to_routing_stats(calm) == to_routing_stats(jittery)


def test_not_a_number_does_not_make_equal_reports_differ(make_report: MakeReport) -> None:
    stats = to_routing_stats(make_report(qoe_mean=math.nan, step_time_s=math.inf))
    assert pickle.loads(pickle.dumps(stats)) == stats


@pytest.mark.parametrize(
    "stats",
    [
        None,
        7,
        "andes",
        [KEY],
        {KEY: None},
        {KEY: {}},
        {KEY: {1: 2}},
        {KEY: {"schema": SCHEMA}},
        {"other": {}},
    ],
    ids=repr,
)
def test_garbage_is_no_report(stats: object) -> None:
    assert from_routing_stats(stats) is None


def test_another_schema_or_a_field_of_another_type_is_no_report(
    make_report: MakeReport,
) -> None:
    stats = to_routing_stats(make_report())[KEY]
    assert from_routing_stats({KEY: stats | {"schema": SCHEMA + 1}}) is None
    assert from_routing_stats({KEY: stats | {"seq": "1"}}) is None
    assert from_routing_stats({KEY: {k: v for k, v in stats.items() if k != "seq"}}) is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(stats=values, field=st.sampled_from(EngineReport.__struct_fields__), value=values)
def test_no_stats_raise(stats: object, field: str, value: object) -> None:
    from_routing_stats(stats)
    from_routing_stats({KEY: stats})
    from_routing_stats({KEY: {field: value, "schema": SCHEMA}})
