"""The metrics channel: the newest state arrives, and nothing that is not one."""

import time
from typing import Any

import msgspec
import pytest

from telemetry import catalogue
from telemetry.engine_metrics import (
    EngineMetrics,
    MetricsPublisher,
    MetricsReceiver,
    decode,
    encode,
)
from telemetry.report import ReportError


def metrics(**changes: Any) -> EngineMetrics:
    values = {m.name: (1.5,) * m.num_values for m in catalogue.ENGINE_METRICS}
    fields: dict[str, Any] = {"epoch": "e", "seq": 1, "info": {}, "values": values}
    return EngineMetrics(**(fields | changes))


def test_what_is_sent_arrives_and_the_older_never_replaces_the_newer(endpoint: str) -> None:
    with MetricsReceiver(endpoint) as receiver, MetricsPublisher(endpoint) as publisher:
        assert receiver.latest() is None
        for seq in (2, 1):
            publisher.publish(metrics(seq=seq))
            deadline_s = time.monotonic() + 60
            while receiver.latest() is None and time.monotonic() < deadline_s:
                time.sleep(0.005)
        time.sleep(0.05)
        assert receiver.latest() == metrics(seq=2)
        assert (publisher.failed_total, receiver.refused_total) == (0, 0)


def test_all_of_an_engine_fits_a_message() -> None:
    assert len(encode(metrics())) < 4096


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff", "no engine metrics"),
        (msgspec.msgpack.encode({"epoch": 1}), "no engine metrics"),
        (encode(metrics(schema=9)), "schema 9, not 1"),
        (encode(metrics(values={"andes_steps": (1.0, 2.0)})), "2 values of andes_steps"),
        (encode(metrics(values={"unheard_of": (1.0,)})), "1 values of unheard_of"),
    ],
)
def test_what_is_not_in_the_catalogue_is_refused_in_one_sentence(
    data: bytes, said: str
) -> None:
    with pytest.raises(ReportError, match=said):
        decode(data)
