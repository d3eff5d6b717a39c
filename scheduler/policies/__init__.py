"""The policies: pure, snapshot in, plan out. `policy_for` makes the one in the settings."""

from __future__ import annotations

from scheduler.imported import imported_policy
from scheduler.policies.andes import AndesPolicy
from scheduler.policies.base import Policy
from scheduler.settings import SchedulerSettings

__all__ = ["AndesPolicy", "Policy", "policy_for"]


def policy_for(settings: SchedulerSettings) -> Policy | None:
    """The policy that `settings.policy` names; None where vLLM itself decides."""
    if settings.policy == "fcfs":
        return None
    if settings.policy == "andes":
        return AndesPolicy(settings)
    made: Policy = imported_policy(settings.policy)(settings)
    return made
