"""The schedulers a replay compares, by name, and their settings. No vLLM here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from bench.errors import UserError, shown
from bench.replay.arguments import Cell
from bench.replay.profiles import LatencyProfile
from scheduler.settings import PolicyName, SchedulerSettings

# Fields of the settings that have an option of their own.
_OPTION_OF = {"policy": "--scheduler", "resume": "--resume"}
_FIELDS = tuple(name for name in SchedulerSettings.model_fields if name not in _OPTION_OF)


@dataclass(frozen=True, slots=True)
class Contender:
    """One scheduler of a comparison.

    Attributes:
        policy: What it is called in the settings.
        has_kv_for_all: It is given memory for every stream it may run at once.
    """

    policy: PolicyName
    has_kv_for_all: bool = False


# `ceiling` shows what memory alone costs: nothing is ever evicted. Where compute or seats
# run out as well it is no upper bound, for it still serves in order of arrival.
SCHEDULERS: dict[str, Contender] = {
    "fcfs": Contender("fcfs"),
    "round-robin": Contender("round-robin"),
    "lqsf": Contender("lqsf"),
    "andes-paper": Contender("andes-paper"),
    "andes": Contender("andes"),
    "ceiling": Contender("fcfs", has_kv_for_all=True),
}


def settings_of(cell: Cell, profile: LatencyProfile) -> SchedulerSettings:
    """The settings of the scheduler of a cell.

    Raises:
        UserError: `cell.settings` has an unknown field or a bad value.
    """
    fields: dict[str, Any] = {
        "policy": SCHEDULERS[cell.scheduler].policy,
        "resume": cell.resume,
    }
    if cell.resume == "offload":
        fields["transfer_s_per_token"] = profile.transfer_s_per_token
    for key in cell.settings:
        if key not in _FIELDS:
            raise UserError(_refusal(key))
    try:
        return SchedulerSettings.model_validate(fields | cell.settings)
    except ValidationError as error:
        raise UserError(_sentence(error, cell.settings)) from None


def _refusal(key: str) -> str:
    if key in _OPTION_OF:
        return f"--set {key} is invalid: {_OPTION_OF[key]} decides it."
    return f"--set {shown(key)} is invalid: the fields are {', '.join(_FIELDS)}."


def _sentence(error: ValidationError, overrides: dict[str, str]) -> str:
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    key = str(first["loc"][0]) if first["loc"] else ""
    what = f"{key}={shown(overrides[key])}" if key in overrides else " ".join(overrides)
    return f"--set {what} is invalid: {reason[:1].lower()}{reason[1:]}."
