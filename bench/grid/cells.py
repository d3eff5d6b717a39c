"""What the grid runs: engines and readers, loads, and who is compared on which.

The default grid fits half an hour on two cores. What a run costs here grows with the tokens
that are generated, so the engine that serves most gets the fewest seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from bench.replay.arguments import TTFT_BY_INPUT


class Load(msgspec.Struct, frozen=True):
    """One cycle of arrivals.

    Attributes:
        intensity: Rate in the burst over the mean rate; 1 is Poisson.
        burst_share: Part of the cycle that the burst takes.
        rate_share: Mean rate, in parts of what `fcfs` serves without bursts.
    """

    intensity: float
    burst_share: float = 0.35
    rate_share: float = 1.0

    @property
    def name(self) -> str:
        """As tables call it."""
        shape = f"{self.intensity:g}×, {self.burst_share:.0%}"
        rate = "" if self.rate_share == 1 else f" at {self.rate_share:g} of the rate"
        return ("Poisson" if self.intensity == 1 else shape) + rate


class Contender(msgspec.Struct, frozen=True):
    """A scheduler as it takes part; `settings` are overridden fields of its settings."""

    scheduler: str
    resume: str = "recompute"
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """As tables call it."""
        offload = ["offload"] if self.resume == "offload" else []
        overrides = [f"{key}={value}" for key, value in self.settings]
        return " ".join([self.scheduler, *offload, *overrides])


class Job(msgspec.Struct, frozen=True):
    """One run, but for the rate: that is measured first."""

    regime: str
    load: Load
    contender: Contender
    seed: int


@dataclass(frozen=True, slots=True)
class Regime:
    """An engine, its readers, and what runs out on it first.

    Attributes:
        lengths: Which of the two lists of lengths prompts and answers are drawn from.
        saturation_rate: Requests/s far above what the engine can serve.
        saturation_s: How long they come: the half of them that ends in the middle must
            meet a full engine.
        seeds: Of each cell of the sweep, unless the command line says otherwise.
        memory_seeds: Of those contenders that differ in KV memory; 0 leaves them out.
    """

    name: str
    title: str
    profile: str
    lengths: str
    ttft_s: float | str
    saturation_rate: float
    saturation_s: float
    seeds: int
    memory_seeds: int


REGIMES = {
    regime.name: regime
    for regime in (
        Regime(
            "A",
            "memory-bound",
            "llama-3.1-8b/h100-sxm-80gb/tp1",
            "sharegpt",
            1.0,
            20.0,
            60.0,
            # A run takes four times as long as one of the others.
            seeds=2,
            memory_seeds=1,
        ),
        # 256 streams, all that this engine runs at once, rarely fill its memory: who keeps
        # evicted KV, or needs no eviction, changes nothing there.
        Regime(
            "B",
            "prefill-bound",
            "llama-3.1-70b/a100-sxm4-40gb/tp8",
            "azure",
            TTFT_BY_INPUT,
            15.0,
            120.0,
            seeds=3,
            memory_seeds=0,
        ),
        Regime(
            "C",
            "KV-scarce",
            "phi-3-mini/a100-sxm4-40gb/tp1",
            "sharegpt",
            1.0,
            4.5,
            200.0,
            seeds=3,
            memory_seeds=3,
        ),
    )
}

FCFS = Contender("fcfs")
PAPER = Contender("andes-paper")
ANDES = Contender("andes")
PAPER_OFFLOAD = Contender("andes-paper", "offload")
ANDES_OFFLOAD = Contender("andes", "offload")
# fcfs evicts so seldom that offload changes nothing for it.
RECOMPUTE = (FCFS, PAPER, ANDES)
MEMORY = (PAPER_OFFLOAD, ANDES_OFFLOAD)
CONTENDERS = (*RECOMPUTE, *MEMORY)

POISSON = Load(1.0)
CENTRE = Load(2.0)
BY_INTENSITY = (Load(1.5), CENTRE, Load(2.5))
BY_SHARE = (Load(2.0, 0.25), CENTRE, Load(2.0, 0.45))
# The paper's sweeps, whose centre they share. Means "over the sweep" are over these.
SWEEP = (Load(1.5), CENTRE, Load(2.5), Load(2.0, 0.25), Load(2.0, 0.45))
CELLS = (POISSON, *SWEEP)

# Where runs are cheap: capacity, policies and settings that need no place in the sweep.
CURVE_REGIME = "C"
CURVE_CONTENDERS = (FCFS, PAPER, ANDES, ANDES_OFFLOAD)
CURVE_SEEDS = 1
RATE_SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5)
# 2.85 with bursts in 35 % of the time leaves next to nothing for the calm.
INTENSITIES = (1.0, 1.25, 1.5, 1.75, 2.0, 2.25, 2.5, 2.85)
BY_RATE = tuple(Load(1.0, rate_share=share) for share in RATE_SHARES)
BY_INTENSITY_FULL = tuple(Load(intensity) for intensity in INTENSITIES)
# At the full rate even fcfs without bursts may be below a threshold.
SPARE_RATE_SHARE = 0.7
BY_INTENSITY_SPARE = tuple(
    Load(intensity, rate_share=SPARE_RATE_SHARE) for intensity in INTENSITIES
)

ABLATION_SEEDS = 2
_LEVERS = (
    Contender("andes", settings=(("pauses", "false"),)),
    Contender("andes", settings=(("limits_prefill", "false"),)),
)
ABLATIONS = {
    "B": _LEVERS,
    "C": (
        Contender("round-robin"),
        Contender("lqsf"),
        Contender("evidence.baselines.paper:PaperWithoutRefiner"),
        Contender("evidence.baselines.paper:PaperExact"),
        *_LEVERS,
        # The largest share there is: as good as no limit on promises.
        Contender("andes", settings=(("promise_share", "10"),)),
        Contender("andes", settings=(("max_preemptions", "0"),)),
        *(
            Contender(
                "andes", settings=(("rebuild_share", least), ("max_rebuild_share", most))
            )
            for least, most in (
                ("0", "0"),
                ("0.05", "0.05"),
                ("0.05", "0.2"),
                ("0.2", "0.2"),
            )
        ),
        *(
            Contender("andes", settings=(("horizon_s", horizon),))
            for horizon in ("1", "2", "5", "10", "20")
        ),
    ),
}


def plan_jobs(regimes: Sequence[Regime], seeds: int | None = None) -> list[Job]:
    """Every run of the grid, once, though several tables may show it.

    Args:
        regimes: Those to run.
        seeds: Of each cell of the sweep; None is each regime's own number. The rest gets
            its own number, and no more than this.
    """
    return list(dict.fromkeys(job for r in regimes for job in _jobs(r, seeds)))


def _jobs(regime: Regime, seeds: int | None) -> Iterator[Job]:
    for load in CELLS:
        yield from _seeded(regime, load, RECOMPUTE, seeds or regime.seeds)
        if regime.memory_seeds:
            yield from _seeded(regime, load, MEMORY, seeds or regime.memory_seeds)
    few = min(seeds or ABLATION_SEEDS, ABLATION_SEEDS)
    yield from _seeded(regime, CENTRE, ABLATIONS.get(regime.name, ()), few)
    if regime.name == CURVE_REGIME:
        for load in (*BY_RATE, *BY_INTENSITY_FULL, *BY_INTENSITY_SPARE):
            yield from _seeded(regime, load, CURVE_CONTENDERS, CURVE_SEEDS)


def _seeded(
    regime: Regime, load: Load, contenders: Sequence[Contender], seeds: int
) -> Iterator[Job]:
    for contender in contenders:
        for seed in range(seeds):
            yield Job(regime.name, load, contender, seed)
