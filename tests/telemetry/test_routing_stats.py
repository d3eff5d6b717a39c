import json
import math
import pickle
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.broadcast import KEY_CHARS
from telemetry.report import SCHEMA, EngineReport
from telemetry.routing_stats import (
    KEY,
    endpoint_of,
    from_routing_stats,
    to_routing_stats,
)

MakeReport = Callable[..., EngineReport]


def idle(make_report: MakeReport, **changes: float) -> EngineReport:
    nothing = {"running": 0, "waiting": 0, "preempted": 0, "demand_tokens": 0}
    return make_report(**(nothing | changes))


def test_without_a_report_there_are_no_stats_and_back() -> None:
    assert to_routing_stats(None) == {}
    assert from_routing_stats({}) is None


def test_a_report_survives_the_trip_but_for_rounding(make_report: MakeReport) -> None:
    sent = make_report(
        demand_tokens=1601,
        seq=42,
        step_base_s=0.01234,
        step_per_stream_s=0.000124,
        prefill_s_per_token=1.234e-5,
        prefill_backlog_tokens=17,
        resume_debt_tokens=16,
        streams_below_target=3,
        accepting=False,
    )
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
        step_base_s=0.012,
        step_per_stream_s=0.00012,
        prefill_s_per_token=1.2e-5,
        prefill_backlog_tokens=32,
    )


def test_the_endpoint_is_told_with_and_without_a_report(make_report: MakeReport) -> None:
    endpoint = "tcp://10.0.0.7:41234"
    for report in (None, make_report()):
        stats = to_routing_stats(report, endpoint)
        assert endpoint_of(stats) == endpoint
        assert (from_routing_stats(stats) is None) == (report is None)
        assert endpoint_of(to_routing_stats(report)) is None


@pytest.mark.parametrize("stats", [None, 7, {}, {"andes_endpoint": 7}], ids=repr)
def test_garbage_names_no_endpoint(stats: object) -> None:
    assert endpoint_of(stats) is None


def test_what_changes_with_every_token_stays_out(make_report: MakeReport) -> None:
    calm = make_report()
    lively = make_report(
        marginal_loss=(1.0,) * 63, accepted_keys=(1, 2), slack_histogram=(1,) * 8
    )
    assert to_routing_stats(calm) == to_routing_stats(lively)


def test_stats_stay_at_a_kilobyte_after_years_of_large_numbers(
    make_report: MakeReport,
) -> None:
    fields = msgspec.structs.asdict(make_report())
    changes: dict[str, object] = {
        name: 2**40 + 1 if isinstance(value, int) else 123456.78901234
        for name, value in fields.items()
        if isinstance(value, (int, float)) and name not in ("schema", "accepting")
    }
    stats = to_routing_stats(
        make_report(
            **changes,
            epoch="e" * 12,
            kv_blocks_preemptible=(2**31,) * 4,
            marginal_loss=(0.1,) * 63,
            accepted_keys=(2**62,) * 128,
            slack_histogram=(10**6,) * 8,
        ),
        f"tcp://[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:65535#{'f' * KEY_CHARS}",
    )
    assert len(json.dumps(stats)) < 1100
    assert len(str(stats)) < 1100
    assert len(pickle.dumps(stats)) < 1100


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
