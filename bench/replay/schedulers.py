"""The schedulers a replay compares, by name, and their settings. No vLLM here.

Any other policy has its import string for a name.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from bench.errors import UserError, shown
from bench.replay.arguments import Cell
from bench.replay.profiles import LatencyProfile
from scheduler.settings import SchedulerSettings

# Fields of the settings that have an option of their own.
_OPTION_OF = {"policy": "--scheduler", "resume": "--resume"}
_FIELDS = tuple(name for name in SchedulerSettings.model_fields if name not in _OPTION_OF)


# What `SchedulerSettings.policy` calls them.
SCHEDULERS: dict[str, str] = {
    "fcfs": "fcfs",
    "shortest-prompt": "evidence.baselines.shortest_prompt:ShortestPromptPolicy",
    "round-robin": "evidence.baselines.round_robin:RoundRobinPolicy",
    "lqsf": "evidence.baselines.lqsf:LqsfPolicy",
    "tokenflow": "evidence.baselines.tokenflow:TokenFlowPolicy",
    "andes-paper": "evidence.baselines.paper:PaperPolicy",
    "andes": "andes",
}


def settings_of(cell: Cell, profile: LatencyProfile) -> SchedulerSettings:
    """The settings of the scheduler of a cell.

    Raises:
        UserError: `cell.settings` has an unknown field or a bad value, or `cell.scheduler`
            is neither one of `SCHEDULERS` nor the import string of a policy.
    """
    fields: dict[str, Any] = {
        "policy": SCHEDULERS.get(cell.scheduler, cell.scheduler),
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
    where = f"--set {what}"
    if key in _OPTION_OF:
        where = f"{_OPTION_OF[key]}={shown(first['input'])}"
    return f"{where} is invalid: {reason[:1].lower()}{reason[1:]}."
