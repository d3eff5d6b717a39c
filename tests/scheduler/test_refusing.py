"""A request with fields that cannot be honoured ends with the reason, and costs nothing."""

from types import SimpleNamespace

import pytest

from bench.load import PlannedStream
from qoe import Expectation

READER = Expectation(1.0, 5.0)
BAD = SimpleNamespace(ttft_s=0.5, tds="fast", weight=1.0, patience_s=None)


@pytest.fixture
def told(make_engine):
    """An engine, and the reasons with which its streams ended."""

    def make(**options):
        engine = make_engine(**options)
        reasons: dict[str, str] = {}
        record = engine._record

        def recorded(outputs) -> None:
            for of_client in outputs.values():
                for output in of_client.outputs:
                    if isinstance(output.stop_reason, str):
                        assert output.new_token_ids == []
                        reasons[output.request_id] = output.stop_reason
            record(outputs)

        engine._record = recorded
        return engine, reasons

    return make


@pytest.mark.parametrize("policy", ["andes", "fcfs"])
@pytest.mark.parametrize("crowd", [0, 20])
def test_a_bad_field_ends_the_request_before_anything_is_computed(
    told, burst, policy, crowd
) -> None:
    engine, reasons = told(settings={"policy": policy}, load=burst(crowd))
    for _ in range(3 if crowd else 0):
        engine.step()
    engine.submit("bad", PlannedStream(engine.now_s, 50, 5, BAD))
    assert "bad" not in engine.step().num_scheduled_tokens
    assert list(reasons) == ["bad"]
    assert reasons["bad"].startswith("qoe_tds='fast' is invalid: it must be a number from")
    assert "bad" not in engine.scheduler.requests
    while engine.scheduler.has_unfinished_requests():
        engine.step()
    assert [len(engine.delivered_at_s[str(i)]) for i in range(crowd)] == [100] * crowd
    assert engine.scheduler.plan_failures_total == 0


def test_a_client_that_leaves_before_it_is_refused_is_told_nothing(told) -> None:
    engine, reasons = told()
    engine.submit("bad", PlannedStream(0.0, 50, 5, BAD))
    engine.abort("bad")
    engine.step()
    assert reasons == {}


def test_a_failure_to_check_is_a_request_with_the_default(told, burst, monkeypatch) -> None:
    monkeypatch.setattr("scheduler.refusing.complaint", lambda *_: 1 / 0)
    engine, reasons = told(settings={"default_tds": 9.0})
    engine.submit("a", PlannedStream(0.0, 50, 5, BAD))
    slot = engine.scheduler.streams.slots(["a"])
    assert engine.scheduler.streams.readers.tds[slot] == 9.0
    while engine.scheduler.has_unfinished_requests():
        engine.step()
    assert reasons == {}
    assert len(engine.delivered_at_s["a"]) == 5
    assert engine.scheduler.plan_failures_total == 1
