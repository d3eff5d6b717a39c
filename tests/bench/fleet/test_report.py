from io import StringIO

import pytest
from rich.console import Console

pytest.importorskip("vllm")

from bench.fleet.arguments import Fleet
from bench.fleet.report import MAX_RUNS_SHOWN, fleet_tables
from bench.fleet.run import replay_fleet
from bench.replay.run import replay


def test_each_replica_is_told_of_while_there_is_room(make_cell) -> None:
    run = replay_fleet(make_cell(duration_s=0.5), Fleet(replicas=2), "pow2")
    assert len(fleet_tables([run] * MAX_RUNS_SHOWN)) == 2
    summary, replicas = map(text_of, fleet_tables([run]))
    assert "lowest busy share" in summary
    assert "pow2 + andes" in replicas
    for replica in run.summary.replicas:
        assert f"{replica.requests} · 1.000 · {replica.busy_share:.0%}" in replicas
    assert len(fleet_tables([run] * (MAX_RUNS_SHOWN + 1))) == 1


def test_one_engine_without_a_router_has_no_fleet_to_tell_of(make_cell) -> None:
    assert fleet_tables([replay(make_cell(duration_s=0.5))]) == []


def text_of(table) -> str:
    console = Console(file=StringIO(), width=200)
    console.print(table)
    return console.file.getvalue()
