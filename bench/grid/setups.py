"""A regime as it is run here: where lengths come from, which rate, and what a run costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.grid.arguments import GridArguments
from bench.grid.cells import POISSON, Contender, Job, Load, Regime
from bench.grid.results import RegimeFacts
from bench.load import BurstShape
from bench.replay.arguments import Cell
from bench.traces import read_lengths

_TDS = "reading"
_SATURATION_SEED = 0
# Real time of one generated token on one core of the machine this was written on, and of
# reading the lengths and making an engine.
_US_PER_TOKEN = {"fcfs": 21.0}
_US_PER_TOKEN_PLANNED = 30.0
_START_S = 0.2


@dataclass(frozen=True, slots=True)
class Setup:
    """A regime with all that its cells share.

    Attributes:
        lengths: Where lengths are drawn from; None is the load's own lognormal.
        output_tokens: Mean length of an answer.
        rate: What `fcfs` serves without bursts, requests/s.
        saturation_requests: Requests of the run that measured it.
    """

    regime: Regime
    lengths: Path | None
    cycle_s: float
    output_tokens: float
    rate: float = 0.0
    saturation_requests: int = 0

    def cell(self, job: Job) -> Cell:
        """The run of a job."""
        return self._cell(
            job.load,
            job.contender,
            rate=self.rate * job.load.rate_share,
            cycle_s=self.cycle_s,
            seed=job.seed,
        )

    @property
    def saturation(self) -> Cell:
        """More Poisson arrivals under `fcfs` than the engine can serve."""
        return self._cell(
            POISSON,
            Contender("fcfs"),
            rate=self.regime.saturation_rate,
            cycle_s=min(self.regime.saturation_s, self.cycle_s),
            seed=_SATURATION_SEED,
        )

    def cost_s(self, job: Job) -> float:
        """About how many seconds a core needs for a run."""
        tokens = self.rate * job.load.rate_share * self.cycle_s * self.output_tokens
        name = job.contender.scheduler
        us_per_token = _US_PER_TOKEN.get(name, _US_PER_TOKEN_PLANNED)
        return _START_S + tokens * us_per_token * 1e-6

    @property
    def facts(self) -> RegimeFacts:
        """What the results say of it."""
        return RegimeFacts(
            title=self.regime.title,
            profile=self.regime.profile,
            lengths=self.lengths.name if self.lengths else None,
            ttft_s=self.regime.ttft_s,
            tds=_TDS,
            rate=self.rate,
            saturation_requests=self.saturation_requests,
        )

    def _cell(self, load: Load, contender: Contender, **more: Any) -> Cell:
        return Cell(
            synthetic=True,
            lengths=self.lengths,
            intensity=load.intensity,
            burst_share=load.burst_share,
            profile=self.regime.profile,
            resume=contender.resume,
            ttft_s=self.regime.ttft_s,
            tds=_TDS,
            settings=dict(contender.settings),
            scheduler=contender.scheduler,
            **more,
        )


def setup_of(regime: Regime, arguments: GridArguments) -> Setup:
    """A regime before its rate is measured.

    Raises:
        UserError: Its file of lengths is bad.
    """
    lengths = arguments.lengths(regime)
    if lengths is None:
        shape = BurstShape()
        output_tokens = shape.output_tokens * float(np.exp(shape.output_sigma**2 / 2))
    else:
        output_tokens = float(np.mean([outputs for _, outputs in read_lengths(lengths)]))
    return Setup(regime, lengths, arguments.cycle_s, output_tokens)
