"""Up at once where readers suffer or will, and no further."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.replica_load import FleetLoad, ReplicaLoad
from router.scaling import ScalingSettings, ScalingState, decide

LIMITS = ScalingSettings(min_replicas=1, max_replicas=10)

counts = st.floats(min_value=0.0, max_value=1e4)


@settings(max_examples=200)
@given(
    streams=counts,
    lates=st.tuples(*[st.tuples(*[st.floats(0.0, 1.0)] * 2)] * 2),
    backlog=counts,
    growth=st.floats(1.0, 10.0),
    rate=counts,
    replicas=st.integers(1, 10),
)
def test_more_trouble_never_means_fewer_replicas(
    streams: float,
    lates: tuple[tuple[float, float], tuple[float, float]],
    backlog: float,
    growth: float,
    rate: float,
    replicas: int,
    busy: Callable[..., ReplicaLoad],
    first_decision: Callable[..., int],
) -> None:
    def load(grown: float, shares: Iterable[float]) -> ReplicaLoad:
        below, short = (share * streams * grown for share in shares)
        backlog_tokens = backlog * grown
        return busy(
            streams * grown, below=below, short=short, backlog_tokens=backlog_tokens
        )

    late, worse = lates[0], map(max, *lates)
    before = first_decision([load(1.0, late)] * 2, replicas, rate)
    after = first_decision([load(growth, worse)] * 2, replicas, rate * growth)
    assert after >= before


@pytest.mark.parametrize(
    ("sign", "rate"),
    [
        pytest.param(
            {"streams": 200.0, "short": 100.0, "below": 50.0, "backlog_tokens": 30_000},
            0,
            id="late",
        ),
        pytest.param(
            {"streams": 500.0, "short": 40.0, "below": 40.0}, 0.0, id="below target"
        ),
        pytest.param({"streams": 400.0, "short": 200.0}, 0.0, id="slack"),
        pytest.param({"streams": 100.0, "backlog_tokens": 40_000}, 0.0, id="prefill"),
        pytest.param({"streams": 1500.0}, 0.0, id="memory and readers"),
        pytest.param({"streams": 20.0}, 200.0, id="arrivals"),
    ],
)
def test_each_sign_of_trouble_is_enough_and_acts_in_the_first_decision(
    sign: dict[str, float],
    rate: float,
    busy: Callable[..., ReplicaLoad],
    first_decision: Callable[..., int],
) -> None:
    assert first_decision([busy(100.0)] * 2, 2, rate_per_s=10.0) == 2
    assert first_decision([busy(**sign)] * 2, 2, rate_per_s=rate) > 2


def test_a_burst_scales_up_with_the_first_report_that_shows_it(
    busy: Callable[..., ReplicaLoad], fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad]
) -> None:
    calm = [busy(30.0, accepted_total=1000.0)] * 2
    state = ScalingState()
    for second in range(60):
        replicas, state = decide(fleet_of(calm), 2, state, LIMITS, float(second))
        assert replicas == 2
    burst = busy(160.0, short=130.0, accepted_total=1130.0, backlog_tokens=13_000)
    replicas, _ = decide(fleet_of([burst] * 2), 2, state, LIMITS, 60.0)
    assert replicas > 2


def test_a_burst_that_has_hurt_nobody_yet_shows_in_the_arrivals_at_once(
    busy: Callable[..., ReplicaLoad], fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad]
) -> None:
    # 80 streams a second are what two replicas are asked to do.
    state, replicas = ScalingState(), 2
    for second in range(60):
        calm = [busy(30.0, accepted_total=20.0 * second)] * 2
        replicas, state = decide(fleet_of(calm), 2, state, LIMITS, float(second))
        assert replicas == 2
    burst = [busy(30.0, accepted_total=20.0 * 59 + 150.0)] * 2
    assert decide(fleet_of(burst), 2, state, LIMITS, 60.0)[0] > 2


def test_up_goes_as_far_as_what_is_seen_needs(
    busy: Callable[..., ReplicaLoad], first_decision: Callable[..., int]
) -> None:
    assert first_decision([busy(3000.0)] * 2, 2) >= 6
    # As much for two replicas, whether or not others are starting.
    assert first_decision([busy(3000.0)] * 2, 5) == first_decision([busy(3000.0)] * 2, 2)


@given(streams=counts, late=st.floats(0.0, 1.0), backlog=counts, rate=counts)
def test_deciding_again_on_the_same_reports_asks_for_no_more(
    streams: float,
    late: float,
    backlog: float,
    rate: float,
    busy: Callable[..., ReplicaLoad],
    fleet_of: Callable[[Iterable[ReplicaLoad]], FleetLoad],
) -> None:
    lost = late * streams
    loads = [busy(streams, below=lost, short=lost, backlog_tokens=backlog)] * 2
    state = ScalingState(looked_at_s=0.0, rate_per_s=rate)
    first, state = decide(fleet_of(loads), 2, state, LIMITS, 0.0)
    again, _ = decide(fleet_of(loads), first, state, LIMITS, 0.1)
    assert again == first


@pytest.mark.parametrize(
    "load",
    [
        pytest.param({"streams": 400.0, "below": 200.0}, id="late once, with slack again"),
        pytest.param({"streams": 1.0, "below": 1.0, "short": 1.0}, id="a single one"),
        pytest.param(
            {"streams": 40.0, "below": 40.0, "short": 40.0}, id="late on an idle replica"
        ),
    ],
)
def test_readers_that_no_replica_can_help_ask_for_none(
    load: dict[str, float],
    busy: Callable[..., ReplicaLoad],
    first_decision: Callable[..., int],
) -> None:
    assert first_decision([busy(**load)] * 2, 2) == 2


def test_one_late_reader_of_a_replica_that_it_fills_is_no_share(
    idle: ReplicaLoad, first_decision: Callable[..., int]
) -> None:
    large = idle._replace(streams=1.0, below=1.0, short=1.0, demand_tokens=60_000.0)
    assert first_decision([large], 1) == 1
