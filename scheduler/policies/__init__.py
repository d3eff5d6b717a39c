"""The policies: pure, snapshot in, plan out. `policy_for` picks one by its name."""

from __future__ import annotations

from collections.abc import Callable

from scheduler.policies.andes import AndesPolicy
from scheduler.policies.base import Policy
from scheduler.policies.lqsf import LqsfPolicy
from scheduler.policies.paper import PaperPolicy
from scheduler.policies.round_robin import RoundRobinPolicy
from scheduler.settings import PolicyName, SchedulerSettings

__all__ = [
    "AndesPolicy",
    "LqsfPolicy",
    "PaperPolicy",
    "Policy",
    "RoundRobinPolicy",
    "policy_for",
]

# With fcfs vLLM itself decides.
_POLICIES: dict[PolicyName, Callable[[SchedulerSettings], Policy]] = {
    "andes": AndesPolicy,
    "andes-paper": PaperPolicy,
    "lqsf": LqsfPolicy,
    "round-robin": RoundRobinPolicy,
}


def policy_for(settings: SchedulerSettings) -> Policy | None:
    """The policy that `settings.policy` names; None where vLLM itself decides."""
    make = _POLICIES.get(settings.policy)
    return None if make is None else make(settings)
