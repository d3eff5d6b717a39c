"""Settings of the Andes scheduler, and how they reach the engine process.

They travel in the environment: vLLM hashes `additional_config` into its compile cache key,
so a knob there would recompile the model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from qoe.expectation import PATIENCE_RANGE_S, TDS_RANGE, TTFT_RANGE_S, Expectation
from scheduler.imported import imported_policy

SETTINGS_ENV = "ANDES_SCHEDULER_SETTINGS"
REPORT_ENDPOINT_ENV = "ANDES_REPORT_ENDPOINT"
METRICS_ENDPOINT_ENV = "ANDES_METRICS_ENDPOINT"
FEEDBACK_ENDPOINT_ENV = "ANDES_FEEDBACK_ENDPOINT"

OWN_POLICIES = ("andes", "fcfs")


def _policy_name(given: Any) -> str:
    if isinstance(given, str) and given in OWN_POLICIES:
        return given
    try:
        imported_policy(given)
    except ValueError as error:
        raise PydanticCustomError(
            "policy",
            "Input should be 'andes', 'fcfs' or package.module:Class of a policy: {reason}",
            {"reason": str(error)},
        ) from None
    return str(given)


PolicyName = Annotated[str, BeforeValidator(_policy_name)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class SchedulerSettings(BaseModel):
    """Every knob of `AndesScheduler`, with its unit and its default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: PolicyName = Field(
        default="andes",
        description="Who orders the streams: andes, fcfs (which only measures them), or "
        "package.module:Class of another policy.",
    )
    resume: Literal["recompute", "offload"] = Field(
        default="recompute",
        description="How a preempted stream gets its KV back; offload: a connector.",
    )
    transfer_s_per_token: Seconds = Field(
        default=5e-6, description="Time to load the KV of one token, with offload."
    )
    default_ttft_s: float = Field(default=1.0, ge=TTFT_RANGE_S[0], le=TTFT_RANGE_S[1])
    default_tds: float = Field(default=4.8, ge=TDS_RANGE[0], le=TDS_RANGE[1])
    default_patience_s: float | None = Field(
        default=None, ge=PATIENCE_RANGE_S[0], le=PATIENCE_RANGE_S[1]
    )
    max_throughput_loss: float = Field(
        default=0.4,
        gt=0,
        le=10,
        description="Engine time that resuming a stream may cost, in parts of the time "
        "that it runs before it is preempted.",
    )
    report_period_s: Seconds = 0.1

    @property
    def default_expectation(self) -> Expectation:
        return Expectation(
            self.default_ttft_s, self.default_tds, patience_s=self.default_patience_s
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> SchedulerSettings:
        """The settings the server put into the environment, else the defaults.

        Raises:
            pydantic.ValidationError: The variable holds something else.
        """
        text = environ.get(SETTINGS_ENV)
        return cls.model_validate_json(text) if text else cls()
