from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("vllm")

from bench.fleet.arguments import Fleet
from bench.fleet.faults import KINDS, Fault
from bench.fleet.run import replay_fleet
from bench.options.fleet import ROUTER_NAMES
from bench.replay.cost import StepWork
from bench.replay.profiles import DEFAULT_PROFILE, latency_profile
from bench.replay.results import Run
from bench.replay.run import replay

NUM_STREAMS = 72
TOKENS = np.array([40 + 11 * (i % 7) for i in range(NUM_STREAMS)])
ALL_FAULTS = (
    Fault(0.3, "partition-reports", 3),
    Fault(0.5, "slow", 1, 0.3),
    Fault(1.01, "drain", 3),
    Fault(1.51, "kill", 0),
    Fault(2.0, "heal-reports", 3),
    Fault(2.5, "slow", 1, 2.0),
)

Play = Callable[..., Run]


@pytest.fixture
def play(make_cell) -> Play:
    """Four replicas, unless the test wants something else."""

    def play(router="qoe", *, cell: dict | None = None, replicas=4, **options) -> Run:
        fleet = Fleet(replicas=replicas, **options)
        return replay_fleet(make_cell(**cell or {}), fleet, router)

    return play


def without_plan_ms(run: Run) -> dict[str, object]:
    return {key: value for key, value in run.row().items() if key != "plan_ms"}


def requests(run: Run) -> list[int]:
    return [replica.requests for replica in run.summary.replicas]


def require_every_stream_once(run: Run) -> None:
    """Served whole, or counted as failed with what it got."""
    assert sum(requests(run)) == run.summary.requests == NUM_STREAMS
    assert (run.scores.tokens <= TOKENS).all()
    assert run.summary.failed == (run.scores.tokens < TOKENS).sum()
    assert (run.scores.tokens > 0).all()


@pytest.mark.parametrize("scheduler", ["fcfs", "andes", "andes-paper"])
@pytest.mark.parametrize("router", ["round_robin", "qoe"])
def test_one_replica_is_a_replay_of_the_same_load(
    play, make_cell, router, scheduler
) -> None:
    fleet = play(router, replicas=1, cell={"scheduler": scheduler})
    alone = replay(make_cell(scheduler=scheduler))
    for column in ("area", "delay", "stall_s", "ttft_s", "end_s", "tokens"):
        assert np.array_equal(
            getattr(fleet.scores, column), getattr(alone.scores, column), equal_nan=True
        )
    shared = without_plan_ms(alone)
    assert shared.items() <= without_plan_ms(fleet).items()


def test_a_stream_refused_in_a_fleet_is_no_failed_one(play) -> None:
    patient = {"patience_s": 0.5, "scheduler": "fcfs", "kv_tokens": 500}
    run = play("round_robin", replicas=2, cell=patient)
    refused = run.scores.tokens == 0
    assert 0 < refused.sum() < NUM_STREAMS
    assert run.summary.out_of_patience == refused.sum()
    assert run.summary.failed == 0
    assert np.nanmax(run.scores.ttft_s) < 0.7


@pytest.mark.parametrize("router", ROUTER_NAMES)
def test_every_stream_is_served_whole_and_only_once(play, router) -> None:
    run = play(router)
    require_every_stream_once(run)
    assert run.summary.failed == run.summary.rerouted == run.plan_failures == 0
    assert min(requests(run)) > 0


@pytest.mark.parametrize("direct_streaming", [False, True], ids=["handle", "direct"])
@pytest.mark.parametrize("router", ROUTER_NAMES)
def test_every_stream_ends_once_whatever_fails(play, router, direct_streaming) -> None:
    run = play(router, at=ALL_FAULTS, direct_streaming=direct_streaming, router_count=2)
    require_every_stream_once(run)
    assert run.summary.failed > 0


@pytest.mark.parametrize("router", ROUTER_NAMES)
def test_the_same_fleet_is_the_same_run(play, router) -> None:
    options = {"router_count": 3, "report_loss": 0.3, "at": ALL_FAULTS}
    first, again = play(router, **options), play(router, **options)
    assert without_plan_ms(first) == without_plan_ms(again)
    assert np.array_equal(first.scores.end_s, again.scores.end_s)


def test_a_killed_replica_loses_what_it_had_begun_and_nothing_else(play) -> None:
    run = play("round_robin", at=(Fault(2.01, "kill", 1),))
    require_every_stream_once(run)
    assert run.summary.failed > 0
    cut_off = run.scores.tokens < TOKENS
    assert (run.scores.end_s[cut_off] <= 2.01).all()
    assert run.scores.arrival_s[cut_off].max() < 2.01
    assert run.summary.replicas[1].tokens_per_s < run.summary.replicas[0].tokens_per_s


def test_what_a_killed_replica_had_not_begun_is_served_by_another(play) -> None:
    # Three readers hold the memory of replica 0; the others have waited since they came.
    run = play("round_robin", cell={"kv_tokens": 300}, at=(Fault(2.01, "kill", 0),))
    require_every_stream_once(run)
    assert run.summary.rerouted > 3
    assert run.summary.failed <= 3


def test_a_stream_continued_elsewhere_delivers_each_token_once(play) -> None:
    kill = (Fault(1.01, "kill", 0), Fault(2.01, "kill", 2))
    run = play("round_robin", at=kill, resume_elsewhere=True)
    require_every_stream_once(run)
    assert run.summary.failed == 0
    assert run.summary.resumed > 0


def test_with_no_replica_left_the_rest_fails_and_the_run_ends(play) -> None:
    run = play(replicas=2, at=(Fault(1.0, "kill", 0), Fault(2.01, "kill", 1)))
    late = run.scores.arrival_s > 2.01
    assert (run.scores.tokens[late] == 0).all()
    assert run.summary.failed == (run.scores.tokens < TOKENS).sum()
    assert sum(requests(run)) < run.summary.requests == NUM_STREAMS


@pytest.mark.parametrize("router", ROUTER_NAMES)
def test_a_draining_replica_gets_no_new_stream_and_finishes_what_it_has(
    play, router
) -> None:
    run = play(router, at=(Fault(1.0, "drain", 2),))
    require_every_stream_once(run)
    assert run.summary.failed == 0
    at_once = play(router, at=(Fault(0.0, "drain", 2),))
    # The first stream arrives before the report does.
    assert 0 < requests(run)[2] < requests(play(router))[2]
    assert requests(at_once)[2] <= 1


@pytest.mark.parametrize("router", ["pow2", "kv_ledger", "qoe"])
@pytest.mark.parametrize(
    "options",
    [
        {"report_delay_s": 2.0},
        {"report_period_s": 2.0},
        {"report_loss": 1.0},
        {"at": tuple(Fault(0.0, "partition-reports", i) for i in range(4))},
        {"at": (Fault(0.5, "partition-reports", 0), Fault(2.0, "heal-reports", 0))},
    ],
    ids=["late", "rare", "lost", "no replica heard", "one not heard for a while"],
)
def test_routing_goes_on_without_reports(play, router, options) -> None:
    run = play(router, **options)
    require_every_stream_once(run)
    assert run.summary.failed == 0
    assert max(requests(run)) < 0.8 * NUM_STREAMS


def test_fast_replicas_get_more_of_the_streams(play) -> None:
    run = play(replica_speeds=(1.3, 1.3, 0.6, 0.6), cell={"kv_tokens": 1200})
    require_every_stream_once(run)
    fast, slow = np.array(requests(run)).reshape(2, 2).sum(axis=1)
    assert fast > 1.15 * slow


def test_a_slow_replica_is_slow_until_it_is_not(play) -> None:
    def busy_s(at: Sequence[Fault]) -> float:
        run = play("round_robin", replicas=1, at=tuple(at))
        return run.summary.replicas[0].busy_share * run.summary.makespan_s

    slow = Fault(0.0, "slow", 0, 0.5)
    assert busy_s([slow]) > 1.5 * busy_s([])
    assert busy_s([slow, Fault(0.5, "slow", 0, 1.0)]) < 0.9 * busy_s([slow])


def test_what_no_engine_can_hold_is_refused_and_not_routed(play) -> None:
    run = play(cell={"kv_tokens": 224})
    assert 0 < run.summary.refused < NUM_STREAMS
    assert sum(requests(run)) == NUM_STREAMS - run.summary.refused
    assert run.summary.failed == 0


def test_balance_is_told(play) -> None:
    even = play("round_robin").summary.imbalance
    uneven = play("round_robin", at=(Fault(0.0, "kill", 0),)).summary.imbalance
    assert even.requests_cv == 0.0
    assert uneven.requests_cv > 0.5
    assert even.demand_cv > 0.0


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    faults=st.lists(
        st.builds(
            Fault,
            at_s=st.floats(0.0, 4.0),
            kind=st.sampled_from(KINDS),
            replica=st.integers(0, 2),
            speed=st.floats(0.3, 3.0),
        ),
        max_size=8,
    ),
    router=st.sampled_from(ROUTER_NAMES),
    resume_elsewhere=st.booleans(),
)
def test_any_script_of_faults_leaves_no_stream_unaccounted_for(
    make_cell, faults, router, resume_elsewhere
) -> None:
    fleet = Fleet(replicas=3, at=tuple(faults), resume_elsewhere=resume_elsewhere)
    run = replay_fleet(make_cell(duration_s=1.2, kv_tokens=600), fleet, router)
    whole = TOKENS[: run.summary.requests]
    lost = run.scores.tokens < whole
    assert (run.scores.tokens <= whole).all()
    assert run.summary.failed == lost.sum()
    kills = {fault.replica for fault in faults if fault.kind == "kill"}
    assert kills or not lost.any()
    # Only with nobody left is a stream that may go on elsewhere ever lost.
    assert len(kills) == 3 or not (resume_elsewhere and lost.any())


def test_progress_counts_every_stream(make_cell) -> None:
    told: list[tuple[int, int]] = []
    cell = make_cell(kv_tokens=224)
    replay_fleet(
        cell, Fleet(replicas=2), "qoe", lambda ended, total: told.append((ended, total))
    )
    refused = told[0][0]
    assert told == [(ended, NUM_STREAMS) for ended in range(refused, NUM_STREAMS + 1)]


def test_one_engine_of_four_times_the_size_is_worth_four_and_costs_as_much(play) -> None:
    four, pooled = play("round_robin"), play("round_robin", replicas=1, engine_size=4)
    assert pooled.summary.mean_qoe_area >= four.summary.mean_qoe_area
    assert pooled.summary.gpu_seconds == pytest.approx(4 * pooled.summary.makespan_s)
    cost = latency_profile(DEFAULT_PROFILE).cost
    work = StepWork(
        num_decoding=7, prefill_tokens=300, context_tokens=900, prefill_tokens2=9
    )
    times_four = (4 * amount for amount in work)
    assert cost.of_size(4).step_s(*times_four) == pytest.approx(cost.step_s(*work))
