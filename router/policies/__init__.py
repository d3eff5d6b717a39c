"""Who gets the next stream. One is used, the others are there to be compared with it."""

from router.policies.base import Policy
from router.policies.counts import LeastOutstanding, PowerOfTwo, RoundRobin
from router.policies.marginal_qoe import MarginalQoE
from router.policies.memory import KVLedger, RemainingSteps
from router.settings import PolicyName

POLICIES: dict[PolicyName, type[Policy]] = {
    "round_robin": RoundRobin,
    "pow2": PowerOfTwo,
    "least_outstanding": LeastOutstanding,
    "kv_ledger": KVLedger,
    "remaining_steps": RemainingSteps,
    "qoe": MarginalQoE,
}

__all__ = ["POLICIES", "Policy"]
