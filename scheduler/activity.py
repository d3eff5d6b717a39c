"""What a scheduler has done, and what that cost: counted where it happens."""

from __future__ import annotations

import time
from collections.abc import Sized
from typing import Protocol

from scheduler.resumes import Resumes
from scheduler.step_time import StepTimeModel
from telemetry import catalogue
from telemetry.engine_metrics import Values


class Parts(Protocol):
    """Of a plan that was carried out, what is counted: see `scheduler.partition`."""

    @property
    def withheld(self) -> Sized: ...
    @property
    def victims(self) -> Sized: ...


class Activity:
    """Plans, the levers they used, resumes and steps of one engine. A `with` times a plan.

    Attributes:
        plan_s: Seconds that the last plan took.
        overruns_total: Plans that took too long to be carried out.
    """

    def __init__(self, step_time: StepTimeModel, resumes: Resumes) -> None:
        self._step_time = step_time
        self._resumes = resumes
        self._started_s = 0.0
        self._plans_total = 0
        self._plan_s_total = 0.0
        self._planned_preemptions = 0
        self._levers = [0, 0]
        self.plan_s = 0.0
        self.overruns_total = 0

    def __enter__(self) -> None:
        self._started_s = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.plan_s = time.perf_counter() - self._started_s
        self._plans_total += 1
        self._plan_s_total += self.plan_s

    def applied(self, parts: Parts, token_budget: int | None) -> None:
        """A plan was carried out like this."""
        self._planned_preemptions += len(parts.victims)
        used = (bool(parts.withheld), token_budget is not None)
        for lever, is_used in enumerate(used):
            self._levers[lever] += is_used

    def values(self, preemptions_total: int, failures_total: int) -> dict[str, Values]:
        """All that, for `EngineMetrics`.

        Args:
            preemptions_total: Of the engine, whoever decided.
            failures_total: Of Andes.
        """
        planned, model = self._planned_preemptions, self._step_time
        return {
            catalogue.PREEMPTIONS.name: (planned, max(preemptions_total - planned, 0)),
            catalogue.LEVERS.name: tuple(self._levers),
            catalogue.RESUMES.name: (self._resumes.resumes_total,),
            catalogue.RESUMED_TOKENS.name: (self._resumes.recomputed_tokens_total,),
            catalogue.PLANS.name: (self._plans_total,),
            catalogue.PLAN_S.name: (self._plan_s_total,),
            catalogue.FALLBACKS.name: (failures_total,),
            catalogue.PLAN_OVERRUNS.name: (self.overruns_total,),
            catalogue.STEPS.name: (model.steps_total,),
            catalogue.STEP_S.name: (model.step_s_total,),
            catalogue.STEP_ERROR_S.name: (model.error_s_total,),
        }
