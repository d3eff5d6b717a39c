"""Settings of the Andes scheduler, and how they reach the engine process.

They travel in the environment: vLLM hashes `additional_config` into its compile cache key,
so a knob there would recompile the model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from qoe.expectation import TDS_RANGE, TTFT_RANGE_S, Expectation

SETTINGS_ENV = "ANDES_SCHEDULER_SETTINGS"
REPORT_ENDPOINT_ENV = "ANDES_REPORT_ENDPOINT"

Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]


class SchedulerSettings(BaseModel):
    """Every knob of `AndesScheduler`, with its unit and its default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: Literal["andes", "fcfs"] = Field(
        default="andes", description="Who orders the streams; fcfs only measures them."
    )
    default_ttft_s: float = Field(default=1.0, ge=TTFT_RANGE_S[0], le=TTFT_RANGE_S[1])
    default_tds: float = Field(default=4.8, ge=TDS_RANGE[0], le=TDS_RANGE[1])
    horizon_s: Seconds = Field(default=5.0, description="How far QoE is forecast.")
    min_residency_s: SecondsOrZero = Field(
        default=1.0, description="How long an admitted stream keeps its KV memory."
    )
    min_victim_slack_s: SecondsOrZero = Field(
        default=2.0, description="Buffered reading time that makes a stream a victim."
    )
    urgency_s: SecondsOrZero = Field(
        default=0.3, description="Slack at which a waiting stream may displace another."
    )
    max_late_s: Seconds = Field(
        default=10.0, description="A reader kept longer than this is served first."
    )
    max_preemptions: int = Field(
        default=2, ge=0, le=1000, description="Preemptions of one stream by this policy."
    )
    replan_period_s: SecondsOrZero = Field(
        default=0.05, description="Plans are this far apart unless streams come or go."
    )
    report_period_s: Seconds = 0.1

    @property
    def default_expectation(self) -> Expectation:
        return Expectation(self.default_ttft_s, self.default_tds)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> SchedulerSettings:
        """The settings the server put into the environment, else the defaults.

        Raises:
            pydantic.ValidationError: The variable holds something else.
        """
        text = environ.get(SETTINGS_ENV)
        return cls.model_validate_json(text) if text else cls()
