import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from operator import truediv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("vllm")

from bench.errors import UserError
from bench.fleet.arguments import Fleet, default_workers, take_fleet
from bench.fleet.faults import KINDS, Fault
from bench.fleet.run import many_workers, replay_fleet
from bench.fleet.scaling import Scaling
from bench.fleet.workers import Workers
from bench.options.fleet import ROUTER_NAMES
from bench.replay.results import Run

REPO = Path(__file__).parents[3]
FAULTS = (
    Fault(0.3, "partition-reports", 3),
    Fault(0.5, "slow", 1, 0.3),
    Fault(1.01, "drain", 3),
    Fault(1.51, "kill", 0),
    Fault(2.0, "heal-reports", 3),
    Fault(2.5, "slow", 1, 2.0),
)
COLUMNS = ("area", "delay", "stall_s", "ttft_s", "tds", "tokens", "end_s")

PlayBoth = Callable[..., tuple[Run, Run]]


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(2) as started:
        yield started


@pytest.fixture
def play_both(make_cell, workers) -> PlayBoth:
    """Four replicas in this process, and the same in two."""

    def play(
        router="qoe", *, cell: dict | None = None, scaling=None, replicas=4, **options
    ) -> tuple[Run, Run]:
        given = make_cell(**cell or {})
        fleet = Fleet(replicas=replicas, **options)
        alone = replay_fleet(given, fleet, router, scaling=scaling)
        return alone, replay_fleet(given, fleet, router, None, scaling, workers)

    return play


def require_same(alone: Run, shared: Run) -> None:
    rows = [run.row() | {"plan_ms": None} for run in (alone, shared)]
    assert rows[0] == rows[1]
    assert alone.plan_failures == shared.plan_failures
    for column in COLUMNS:
        columns = [getattr(run.scores, column) for run in (alone, shared)]
        assert np.array_equal(*columns, equal_nan=True), column


@pytest.mark.parametrize("router", ROUTER_NAMES)
def test_two_processes_play_what_one_does(play_both, router) -> None:
    require_same(*play_both(router))


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.nightly) for seed in (1, 2))]
)
@pytest.mark.parametrize("direct_streaming", [False, True], ids=["handle", "direct"])
@pytest.mark.parametrize("resume_elsewhere", [False, True], ids=["cut off", "resumed"])
def test_faults_are_the_same_in_two_processes(
    play_both, seed, direct_streaming, resume_elsewhere
) -> None:
    alone, shared = play_both(
        cell={"seed": seed, "kv_tokens": 600},
        at=FAULTS,
        router_count=3,
        report_loss=0.3,
        direct_streaming=direct_streaming,
        resume_elsewhere=resume_elsewhere,
    )
    require_same(alone, shared)
    assert alone.summary.resumed > 0 if resume_elsewhere else alone.summary.failed > 0


@pytest.mark.parametrize(
    "options",
    [
        {"cell": {"scheduler": "fcfs"}},
        {"cell": {"scheduler": "lqsf"}},
        {"report_delay_s": 0.0},
        {"report_delay_s": 1.0},
        {"cell": {"resume": "offload", "kv_tokens": 600}},
        {"replica_speeds": (1.3, 1.3, 0.6, 100.0)},
        {"replicas": 1},
        {"at": tuple(Fault(1.0 + i, "kill", i) for i in range(4))},
    ],
    ids=[
        "fcfs",
        "another policy",
        "at once",
        "late",
        "offload",
        "speeds",
        "one for two",
        "nobody left",
    ],
)
def test_whatever_a_fleet_may_have_is_the_same_in_two_processes(play_both, options) -> None:
    require_same(*play_both(**options))


def test_autoscaling_is_the_same_in_two_processes(play_both) -> None:
    pytest.importorskip("ray")
    settings = (("down_after_s", "0.5"), ("down_every_s", "0.2"), ("rate_window_s", "1"))
    scaling = Scaling("qoe", settings)
    alone, shared = play_both(
        "kv_ledger",
        scaling=scaling,
        replicas=1,
        autoscale=(scaling,),
        max_replicas=4,
        startup_s=0.5,
        autoscale_period_s=0.1,
    )
    require_same(alone, shared)
    assert len(alone.summary.scaling.events) > 1


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    faults=st.lists(
        st.builds(
            Fault,
            at_s=st.one_of(st.floats(0.0, 4.0), st.sampled_from([0.0, 0.4, 1.0, 2.0])),
            kind=st.sampled_from(KINDS),
            replica=st.integers(0, 2),
            speed=st.floats(0.3, 30.0),
        ),
        max_size=8,
    ),
    router=st.sampled_from(ROUTER_NAMES),
)
def test_any_script_of_faults_is_the_same_in_two_processes(
    play_both, faults, router
) -> None:
    cell = {"duration_s": 1.2, "kv_tokens": 600}
    require_same(*play_both(router, cell=cell, replicas=3, at=tuple(faults)))


@pytest.mark.nightly
def test_a_worker_that_dies_ends_the_run_in_one_sentence_and_the_others_too(
    make_cell,
) -> None:
    before = set(multiprocessing.active_children())

    def die(ended: int, total: int) -> None:
        if ended == total // 2:
            set_of_ours().pop().kill()

    def set_of_ours() -> set[BaseProcess]:
        return set(multiprocessing.active_children()) - before

    with pytest.raises(UserError) as error, Workers(2) as started:
        replay_fleet(make_cell(), Fleet(replicas=4), "qoe", die, None, started)
    told = "a worker process of the replay ended with code -9: nothing is written."
    assert str(error.value) == told
    assert not set_of_ours()


@pytest.mark.nightly
def test_what_fails_in_a_worker_is_raised_where_it_was_asked_for() -> None:
    with Workers(1) as started:
        engines = started.engines(make=truediv, lookahead_s=0.0)
        with pytest.raises(ZeroDivisionError):
            engines.start(1, 0.0)


def test_ctrl_c_leaves_no_process(trace) -> None:
    command = [
        sys.executable, "-c", "from bench.cli import main; main()", "replay",
        "--trace", str(trace), "--replicas", "4", "--workers", "2", "--rate", "0.05",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, cwd=REPO, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    require(lambda: len(session(process.pid)) > 2, within_s=120.0)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.splitlines()[-1].endswith("stopped: nothing is written.")
    require(lambda: not session(process.pid), within_s=60.0)


def require(condition: Callable[[], bool], within_s: float) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def session(leader: int) -> list[int]:
    """Processes of a session."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # After the name, which may hold anything: state, parent, group, session.
            if status.read_text().rpartition(")")[2].split()[3] == str(leader):
                found.append(int(status.parent.name))
    return found


@pytest.mark.parametrize(
    ("replicas", "cores", "count"), [(8, 2, 1), (64, 2, 2), (64, 8, 4)]
)
def test_a_process_is_for_many_replicas_and_a_core(
    monkeypatch, replicas, cores, count
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert default_workers(replicas) == count
    fleet, _ = take_fleet({"replicas": replicas})
    assert fleet.workers == count
    fleet, _ = take_fleet({"replicas": replicas, "workers": 3})
    assert fleet.workers == 3


def test_nobody_is_started_who_would_have_no_replica() -> None:
    assert isinstance(many_workers(Fleet(replicas=4, workers=3)), Workers)
    with many_workers(Fleet(replicas=1, workers=8)) as workers:
        assert workers is None
    with many_workers(None) as workers:
        assert workers is None


def test_workers_need_replicas() -> None:
    with pytest.raises(UserError, match="--workers has no effect without --replicas"):
        take_fleet({"workers": 2})
