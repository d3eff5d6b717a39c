"""`andes bound`: what no schedule of a load can beat."""

from __future__ import annotations

import os

from rich.console import Console

from bench.replay.arguments import Scenario
from bench.replay.profiles import latency_profile
from bench.replay.workload import plan_workload
from evidence.bound import never_late_bound


def run_bound(scenario: Scenario, bin_s: float, time_limit_s: float) -> int:
    """Print the share of streams that no schedule exceeds, and how long that took.

    Raises:
        UserError: A bad option or file.
    """
    streams = plan_workload(scenario)
    profile = latency_profile(scenario.profile)
    # vLLM reads it when it is imported.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from bench.replay.run import engine_size  # noqa: PLC0415 - vLLM takes seconds

    bound = never_late_bound(
        streams,
        profile.cost,
        engine_size(scenario, profile),
        bin_s=bin_s,
        time_limit_s=time_limit_s,
    )
    Console(highlight=False).print(
        f"never late, of {len(streams)} streams: at most {bound.share:.4f} under any "
        f"schedule (best prices: {bound.share - bound.gap:.4f} or more), "
        f"found in {bound.solve_s:.1f} s",
        soft_wrap=True,
    )
    return 0
