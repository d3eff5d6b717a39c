"""What one engine says, as bytes: bounded, checked, and named alike everywhere."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.report import (
    HARM_SIZE,
    MAX_ACCEPTED_KEYS,
    SLACK_EDGES_S,
    EngineReport,
    ReportError,
    decode,
    encode,
    request_key,
)

MakeReport = Callable[..., EngineReport]
REPO = Path(__file__).parents[2]


def full(make_report: MakeReport) -> EngineReport:
    """The largest report there can be."""
    numbers = {
        name: 2**63 - 1 if isinstance(value, int) else 0.1
        for name, value in msgspec.structs.asdict(make_report()).items()
        if isinstance(value, (int, float)) and name not in ("schema", "accepting")
    }
    return make_report(
        **numbers,
        kv_blocks_preemptible=(2**63 - 1,) * 4,
        slack_histogram=(2**63 - 1,) * (len(SLACK_EDGES_S) + 1),
        harm=(0.1,) * HARM_SIZE,
        accepted_keys=(2**63 - 1,) * MAX_ACCEPTED_KEYS,
    )


def test_the_largest_report_stays_below_three_kilobytes(make_report: MakeReport) -> None:
    report = full(make_report)
    assert len(encode(report)) <= 3 * 1024
    assert decode(encode(report)) == report


@pytest.mark.parametrize("field", ["slack_histogram", "harm", "accepted_keys"])
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
