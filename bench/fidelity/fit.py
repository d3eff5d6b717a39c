"""What a step costs on a real engine, fitted to the steps it was seen to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.fidelity.steps import Step
from bench.replay.cost import StepCost
from qoe.metrics import Floats

# A step this many times longer than it should be is a machine that slept.
STALL = 50.0
_ROUNDS = 30


@dataclass(frozen=True, slots=True)
class Fit:
    """Constants of a step, in two parts.

    Attributes:
        typical: The step that half of the steps are slower than.
        slowdown: Time that all steps took over what typical steps would have: what a busy
            or throttled host adds. Stalls beyond `STALL` count as that long.
    """

    typical: StepCost
    slowdown: float

    @property
    def cost(self) -> StepCost:
        """What steps cost on average, which is what a load feels."""
        return scaled(self.typical, self.slowdown)


def fit_cost(steps: Sequence[Step]) -> Fit:
    """Non-negative constants with the least absolute error over the steps.

    Raises:
        ValueError: There are fewer steps than constants.
    """
    took_s = np.array([step.seconds for step in steps])
    design = _design(steps)
    if len(design) < design.shape[1]:
        raise ValueError(f"{len(design)} steps are too few to fit {design.shape[1]} costs")
    weights = np.ones_like(took_s)
    for _ in range(_ROUNDS):
        constants = _least_squares(design, took_s, weights)
        error_s = np.abs(took_s - design @ constants)
        # Weighted by 1 / error, squared errors are absolute ones: stalls bend nothing.
        weights = 1.0 / np.maximum(error_s, 0.1 * np.median(error_s) + 1e-12)
    typical = _cost(constants)
    return Fit(typical, slowdown(typical, steps))


def slowdown(cost: StepCost, steps: Sequence[Step]) -> float:
    """Time that the steps took over what they cost."""
    cost_s = np.array([cost.step_s(*step.work) for step in steps])
    took_s = np.array([step.seconds for step in steps])
    return float(np.minimum(took_s, STALL * cost_s).sum() / cost_s.sum())


def scaled(cost: StepCost, factor: float) -> StepCost:
    """The same engine, that many times slower."""
    return StepCost(
        base_s=factor * cost.base_s,
        per_stream_s=factor * cost.per_stream_s,
        per_context_token_s=factor * cost.per_context_token_s,
        per_prefill_token_s=factor * cost.per_prefill_token_s,
        per_prefill_token2_s=factor * cost.per_prefill_token2_s,
    )


def _design(steps: Sequence[Step]) -> Floats:
    rows = [
        (
            1.0,
            step.work.num_decoding,
            step.work.context_tokens,
            step.work.prefill_tokens,
            step.work.prefill_tokens2,
        )
        for step in steps
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def _cost(constants: Floats) -> StepCost:
    base, stream, context, prefill, prefill2 = (float(value) for value in constants)
    return StepCost(
        base_s=base,
        per_stream_s=stream,
        per_context_token_s=context,
        per_prefill_token_s=prefill,
        per_prefill_token2_s=prefill2,
    )


def _least_squares(design: Floats, took_s: Floats, weights: Floats) -> Floats:
    """Weighted, with no constant below 0: the most negative one is dropped, and again."""
    root = np.sqrt(weights)
    # Columns differ by six orders of magnitude; a solver wants them alike.
    largest = np.maximum(design.max(axis=0), 1e-12)
    rows, wanted = design / largest * root[:, None], took_s * root
    kept = np.flatnonzero(design.any(axis=0))
    while True:
        constants = np.zeros(design.shape[1])
        constants[kept] = np.linalg.lstsq(rows[:, kept], wanted, rcond=None)[0]
        if constants.min() >= 0.0:
            found: Floats = constants / largest
            return found
        kept = kept[kept != constants.argmin()]
