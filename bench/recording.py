"""`python -m bench.recording`: the run that the demo page plays, and ships with.

One burst through the real scheduler in virtual time, once in vLLM's own order and once by
Andes: when each token of some readers came, and what became of all of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.console import Console

from bench.commandline import published
from bench.load import PlannedStream
from bench.replay.arguments import Cell
from bench.results import environment
from bench.scores import Scores
from deployments.tiny_model import PROJECT_ROOT

PAGE = PROJECT_ROOT / "web" / "static" / "recorded.json"
COMMAND = "python -m bench.recording"
POLICIES = ("fcfs", "andes")
# A small GPU, so that a burst of readers is more than it holds; nothing is made smaller.
PROFILE = "phi-3-mini/a100-sxm4-40gb/tp1"
# All requests come in a burst of 24 s.
RATE, INTENSITY, BURST_SHARE, CYCLE_S = 5.0, 2.5, 0.4, 60.0
NUM_SHOWN = 8

app = typer.Typer(add_completion=False, help=__doc__)
console = Console()


@app.command()
def main(
    rate: Annotated[float, typer.Option(help="Mean requests/s over the minute.")] = RATE,
    profile: Annotated[str, typer.Option(help="What a step costs.")] = PROFILE,
    shown: Annotated[int, typer.Option(help="Readers with all their tokens.")] = NUM_SHOWN,
    seed: Annotated[int, typer.Option(help="Of the load.")] = 0,
    out: Annotated[Path, typer.Option(help="Where to write it.")] = PAGE,
) -> None:
    """Record both runs and write them down for the page."""
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    made_by = environment()
    cell = Cell(
        synthetic=True,
        rate=rate,
        intensity=INTENSITY,
        burst_share=BURST_SHARE,
        cycle_s=CYCLE_S,
        profile=profile,
        seed=seed,
    )
    recorded = {
        "command": _command(),
        "made_by": msgspec.to_builtins(made_by),
        **record(cell, shown),
    }
    out.write_text(_compact(recorded) + "\n", encoding="utf-8")
    for name, run in recorded["runs"].items():
        console.print(f"{name}: mean QoE {run['summary']['mean_qoe_area']:.3f}")
    console.print(f"wrote {out.name}, {out.stat().st_size / 1000:.0f} kB")


def record(cell: Cell, num_shown: int, policies: Sequence[str] = POLICIES) -> Any:
    """The same load under each policy, as the page reads it.

    Args:
        cell: The load and the engine; its scheduler is not looked at.
        num_shown: Readers, evenly spaced by arrival, whose tokens are kept.
        policies: Names of schedulers.

    Returns:
        Plain values. `arrivals_ms` counts from the first arrival; `runs` has, for every
        reader in that order, `first_ms` and `end_ms` from the reader's arrival, `stall_ms`
        and `qoe`, and in `tokens_ms` the steps between the tokens of each of `readers`.
    """
    from bench.replay.profiles import latency_profile  # noqa: PLC0415 - vLLM is slow
    from bench.replay.run import engine_size  # noqa: PLC0415
    from bench.replay.workload import plan_workload  # noqa: PLC0415

    profile = latency_profile(cell.profile)
    streams = from_first_arrival(plan_workload(cell))
    rows = shown_rows(len(streams), num_shown)
    return {
        "load": {
            "profile": cell.profile,
            "kv_tokens": engine_size(cell, profile).kv_tokens,
            "requests": len(streams),
            "burst_s": round(streams[-1].arrival_s, 1),
        },
        "arrivals_ms": [_ms(stream.arrival_s) for stream in streams],
        "readers": [_reader(row, streams[row]) for row in rows],
        "runs": {
            policy: _run(msgspec.structs.replace(cell, scheduler=policy), streams, rows)
            for policy in policies
        },
    }


def from_first_arrival(streams: Sequence[PlannedStream]) -> list[PlannedStream]:
    """The same streams without the calm before them."""
    start_s = streams[0].arrival_s
    return [replace(stream, arrival_s=stream.arrival_s - start_s) for stream in streams]


def shown_rows(num_streams: int, num_shown: int) -> list[int]:
    """The middle of each of `num_shown` equal parts: nobody picks a reader."""
    return [int((k + 0.5) * num_streams / num_shown) for k in range(num_shown)]


def _run(cell: Cell, streams: Sequence[PlannedStream], rows: Sequence[int]) -> Any:
    from bench.replay.profiles import latency_profile  # noqa: PLC0415 - vLLM is slow
    from bench.replay.run import MeteredEngine, engine_size  # noqa: PLC0415
    from bench.replay.schedulers import settings_of  # noqa: PLC0415

    profile = latency_profile(cell.profile)
    scores = Scores([stream.arrival_s for stream in streams])
    delivered: dict[int, list[int]] = {}

    def ended(request_id: str, delivered_at_s: Sequence[float]) -> None:
        row = int(request_id)
        times_s = np.array(delivered_at_s) - streams[row].arrival_s
        scores.score(row, times_s, streams[row].expectation)
        if row in rows:
            delivered[row] = np.diff(np.rint(times_s * 1e3), prepend=0).astype(int).tolist()

    engine = MeteredEngine(
        settings_of(cell, profile),
        engine_size(cell, profile),
        cost=profile.cost,
        on_done=ended,
    )
    engine.run(streams)
    return {
        "summary": msgspec.to_builtins(scores.quality()),
        "preemptions": engine.scheduler.streams.preemptions_total,
        "first_ms": [_ms(t) for t in scores.ttft_s],
        "end_ms": [_ms(t) for t in scores.end_s - scores.arrival_s],
        "stall_ms": [_ms(t) for t in scores.stall_s],
        "qoe": [round(float(q), 3) for q in scores.area],
        "tokens_ms": [delivered[row] for row in rows],
    }


def _reader(row: int, stream: PlannedStream) -> dict[str, object]:
    reader = stream.expectation
    return {
        "row": row,
        "ttft_s": reader.ttft_s,
        "tds": reader.tds,
        "input_tokens": stream.input_tokens,
        "output_tokens": stream.output_tokens,
    }


def _ms(seconds: float) -> int:
    return round(float(seconds) * 1000)


def _command() -> str:
    # Without it, runs of andes differ in the third digit from process to process.
    seed = os.environ.get("PYTHONHASHSEED")
    named = published(sys.argv[1:]).replace("andes", COMMAND, 1)
    return f"PYTHONHASHSEED={seed} {named}" if seed else named


def _compact(recorded: Any) -> str:
    return msgspec.json.encode(recorded).decode()


if __name__ == "__main__":
    app()
