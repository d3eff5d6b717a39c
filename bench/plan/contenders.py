"""Who is planned for: a scheduler and the router before it. No vLLM here."""

from __future__ import annotations

from typing import get_args

import msgspec

from bench.errors import UserError, shown
from bench.options.replay import SCHEDULER_NAMES
from router.settings import PolicyName

ROUTERS: tuple[PolicyName, ...] = get_args(PolicyName)
FORM = "SCHEDULER+ROUTER"


class Contender(msgspec.Struct, frozen=True):
    """Every replica's scheduler, and the policy of the router."""

    scheduler: str
    router: PolicyName

    @property
    def label(self) -> str:
        """As it is asked for."""
        return f"{self.scheduler}+{self.router}"


# What vLLM and Serve do by themselves, and what we do.
DEFAULT_CONTENDERS = (Contender("fcfs", "pow2"), Contender("andes", "qoe"))


def parse_contender(flag: str, text: str) -> Contender:
    """The contender that `text` spells.

    Raises:
        UserError: It spells none; the message names the flag, the text and both lists.
    """
    scheduler, _, policy = (part.strip() for part in text.partition("+"))
    router = next((name for name in ROUTERS if name == policy), None)
    if scheduler not in SCHEDULER_NAMES or router is None:
        raise UserError(
            f"{flag} {shown(text)} is invalid: it must be {FORM}, SCHEDULER one of "
            f"{', '.join(SCHEDULER_NAMES)}, and ROUTER one of {', '.join(ROUTERS)}."
        )
    return Contender(scheduler, router)
