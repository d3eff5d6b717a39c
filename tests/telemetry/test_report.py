"""What one engine says, as bytes: bounded, checked, and named alike everywhere."""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.report import (
    MARGINAL_LOSS_SIZE,
    MAX_COUNT,
    MAX_KEYS,
    SLACK_EDGES_S,
    EngineReport,
    ReportError,
    decode,
    encode,
    from_mapping,
    request_key,
)

MakeReport = Callable[..., EngineReport]
REPO = Path(__file__).parents[2]


def full(make_report: MakeReport) -> EngineReport:
    """The largest report there can be."""
    numbers = {
        name: MAX_COUNT if isinstance(value, int) else 0.1
        for name, value in msgspec.structs.asdict(make_report()).items()
        if isinstance(value, (int, float)) and name not in ("schema", "accepting")
    }
    return make_report(
        **numbers,
        kv_blocks_preemptible=(MAX_COUNT,) * 4,
        slack_histogram=(MAX_COUNT,) * (len(SLACK_EDGES_S) + 1),
        marginal_loss=(0.1,) * MARGINAL_LOSS_SIZE,
        accepted_keys=(2**63 - 1,) * MAX_KEYS,
    )


def test_the_largest_report_stays_below_three_kilobytes(make_report: MakeReport) -> None:
    report = full(make_report)
    assert len(encode(report)) <= 3 * 1024
    assert decode(encode(report)) == report


@pytest.mark.parametrize("field", ["slack_histogram", "marginal_loss", "accepted_keys"])
def test_a_list_longer_than_its_sender_makes_it_is_no_report(
    make_report: MakeReport, field: str
) -> None:
    report = full(make_report)
    longer = (*getattr(report, field), 1)
    with pytest.raises(ReportError, match=field):
        decode(encode(msgspec.structs.replace(report, **{field: longer})))


@given(st.text())
def test_a_key_is_63_bits_of_the_id(request_id: str) -> None:
    assert 0 <= request_key(request_id) < 2**63
    assert request_key(request_id) == request_key(request_id)
    assert request_key(request_id) != request_key(request_id + "'")


def test_every_process_calls_a_request_the_same() -> None:
    code = "from telemetry.report import request_key; print(request_key('some request'))"
    for seed in ("1", "2"):
        other = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONPATH": str(REPO), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(other.stdout) == request_key("some request")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("running", -1),
        ("demand_tokens", -5),
        ("accepted_total", MAX_COUNT + 1),
        ("prefill_s_per_token", -1e-6),
        ("step_time_s", 1e9),
        ("qoe_mean", 7.0),
        ("tokens_per_s", float("nan")),
        ("mean_output_tokens", float("inf")),
        ("marginal_loss", (-1.0,) * MARGINAL_LOSS_SIZE),
    ],
)
def test_numbers_that_no_engine_can_have_are_no_report(
    make_report: MakeReport, field: str, value: Any
) -> None:
    report = make_report(**{field: value})
    with pytest.raises(ReportError, match=field):
        decode(encode(report))
    if not (isinstance(value, float) and math.isnan(value)):
        with pytest.raises(ReportError, match=field):
            from_mapping(msgspec.to_builtins(report))


def test_sums_that_are_rounded_are_a_report(make_report: MakeReport) -> None:
    report = make_report(qoe_mean=1.0 + 1e-12, marginal_loss=(-1e-12,) * MARGINAL_LOSS_SIZE)
    assert decode(encode(report)) == report


def test_what_no_text_can_be_read_from_is_no_report(make_report: MakeReport) -> None:
    fields = msgspec.to_builtins(make_report())
    with pytest.raises(ReportError):
        from_mapping(fields | {"\ud800": 0})
    with pytest.raises(ReportError):
        decode(b"\x81\xa5epoch" + b"\x91" * 20_000)
