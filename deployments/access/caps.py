"""The key `caps` of a deployment's `args`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from qoe import Caps
from qoe.expectation import TDS_RANGE, TTFT_RANGE_S, WEIGHT_RANGE


class CapArgs(BaseModel):
    """The most that a request may ask for."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_weight: float = Field(
        default=1.0,
        ge=WEIGHT_RANGE[0],
        le=WEIGHT_RANGE[1],
        description="Readers that one may count for: whoever counts for more takes it "
        "from others.",
    )
    max_tds: float = Field(default=TDS_RANGE[1], ge=TDS_RANGE[0], le=TDS_RANGE[1])
    min_ttft_s: float = Field(
        default=TTFT_RANGE_S[0], ge=TTFT_RANGE_S[0], le=TTFT_RANGE_S[1]
    )

    def caps(self) -> Caps:
        return Caps(**self.model_dump())
