"""Fleets that change their size: real schedulers, the real policies, one virtual time."""

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("vllm")
pytest.importorskip("ray")

from bench.errors import UserError
from bench.fleet.arguments import Fleet
from bench.fleet.faults import Fault
from bench.fleet.run import replay_fleet
from bench.fleet.scalers import scaler_of
from bench.fleet.scaling import Scaling
from bench.options.fleet import ROUTER_NAMES
from bench.replay.results import Run

NUM_STREAMS = 72
SOON: Mapping[str, Mapping[str, str]] = {
    "qoe": {"down_after_s": "0.5", "down_every_s": "0.2", "rate_window_s": "1"},
    "ongoing": {
        "target_ongoing_requests": "6",
        "upscale_delay_s": "0",
        "downscale_delay_s": "0.5",
        "look_back_period_s": "0.5",
    },
}
NAMES = tuple(SOON)

Play = Callable[..., Run]


@pytest.fixture
def play(make_cell) -> Play:
    """One to four replicas that are there within half a second."""

    def play(name="qoe", router="kv_ledger", *, cell: dict | None = None, **options) -> Run:
        scaling = Scaling(name, tuple(SOON[name].items()))
        given = {
            "replicas": 1,
            "max_replicas": 4,
            "startup_s": 0.5,
            "autoscale_period_s": 0.1,
            "autoscale": (scaling,),
        }
        fleet = Fleet(**given | options)
        return replay_fleet(make_cell(**cell or {}), fleet, router, scaling=scaling)

    return play


def held(run: Run) -> list[int]:
    return [s.starting + s.serving + s.leaving for s in run.summary.scaling.steps]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("router", ROUTER_NAMES)
def test_no_stream_is_cut_off_by_scaling(play, name, router) -> None:
    run = play(name, router)
    assert run.summary.failed == run.summary.rerouted == 0
    assert sum(r.requests for r in run.summary.replicas) == NUM_STREAMS
    assert len(run.summary.replicas) > 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("replicas", [1, 4])
def test_the_fleet_grows_and_shrinks_within_its_bounds(play, name, replicas) -> None:
    run = play(name, replicas=replicas)
    scaling = run.summary.scaling
    afters = [event.after for event in scaling.events]
    if replicas == 1:
        assert max(afters) > 1
    else:
        # The first streams need one of them, or two.
        assert min(afters) < 4
        assert run.summary.failed == 0
    assert all(1 <= after <= 4 for after in afters)
    assert [e.before for e in scaling.events[1:]] == afters[:-1]
    assert all(1 <= s.serving <= 4 for s in scaling.steps)
    assert max(s.starting + s.serving for s in scaling.steps) == max([*afters, replicas])


@pytest.mark.parametrize("name", NAMES)
def test_a_replica_serves_as_long_after_its_order_as_it_takes_to_start(play, name) -> None:
    steps = play(name).summary.scaling.steps
    ordered_s = next(s.at_s for s in steps if s.starting)
    joined_s = next(s.at_s for s in steps if s.serving > 1)
    assert joined_s == pytest.approx(ordered_s + 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_gpu_seconds_are_the_area_under_the_replicas_that_hold_them(play, name) -> None:
    run = play(name)
    scaling = run.summary.scaling
    times_s = [*(s.at_s for s in scaling.steps), run.summary.makespan_s]
    lengths_s = [max(b - a, 0.0) for a, b in pairwise(times_s)]
    area_s = np.dot(lengths_s, held(run))
    assert run.summary.gpu_seconds == pytest.approx(area_s)
    assert run.summary.gpu_seconds < 4 * run.summary.makespan_s


def test_without_an_autoscaler_all_replicas_hold_their_gpus_to_the_end(make_cell) -> None:
    run = replay_fleet(make_cell(), Fleet(replicas=3), "pow2")
    assert run.summary.gpu_seconds == pytest.approx(3 * run.summary.makespan_s)
    assert run.summary.scaling is None


def test_every_gpu_of_a_replica_counts(make_cell) -> None:
    cell = make_cell(profile="llama-3.1-70b/a100-sxm4-40gb/tp8", duration_s=0.3)
    run = replay_fleet(cell, Fleet(replicas=2), "pow2")
    assert run.summary.gpu_seconds == pytest.approx(16 * run.summary.makespan_s)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_load_scales_the_same_way(play, name) -> None:
    first, again = play(name), play(name)
    assert first.summary.scaling == again.summary.scaling
    assert np.array_equal(first.scores.end_s, again.scores.end_s)


@pytest.mark.parametrize("name", NAMES)
def test_a_replica_that_dies_is_replaced(play, name) -> None:
    run = play(name, replicas=2, min_replicas=2, at=(Fault(1.05, "kill", 1),))
    after = [s for s in run.summary.scaling.steps if s.at_s >= 1.05]
    assert after[0].serving + after[0].starting < 4 or after[0].starting
    assert any(s.serving >= 2 for s in after)


def test_nobody_is_scaled_by_a_fleet_that_says_nothing(play) -> None:
    run = play(at=(Fault(0.0, "partition-reports", 0),))
    assert run.summary.scaling.events == ()
    assert run.summary.failed == 0


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        (Scaling("qoe", (("work", "1"),)), "qoe,work=... is invalid: the settings of qoe"),
        (Scaling("qoe", (("max_replicas", "3"),)), "qoe,max_replicas=... is invalid"),
        (Scaling("qoe", (("work_share", "no"),)), "qoe,work_share=no is invalid"),
        (
            Scaling("ongoing", (("target_ongoing_requests", "-1"),)),
            "ongoing,target_ongoing_requests=-1 is invalid",
        ),
    ],
)
def test_a_bad_setting_is_named_with_its_value(scaling, message) -> None:
    with pytest.raises(UserError, match=message):
        scaler_of(scaling, Fleet(replicas=1))


def test_serve_s_own_defaults_stand_where_nothing_is_said() -> None:
    settings = scaler_of(Scaling("ongoing"), Fleet(replicas=1)).settings
    assert settings["target_ongoing_requests"] == 2
    assert settings["upscale_delay_s"] == 30.0
    assert settings["downscale_delay_s"] == 600.0
    assert settings["look_back_period_s"] == 30.0
