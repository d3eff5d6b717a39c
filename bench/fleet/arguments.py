"""What a replay of many replicas was asked for. No vLLM here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bench.errors import UserError
from bench.fleet.faults import Fault
from router.settings import PolicyName

DEFAULT_ROUTERS: tuple[PolicyName, ...] = ("qoe",)


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """The replicas, the routers before them, and what goes wrong.

    Attributes:
        replicas: Engines of the same profile.
        router_count: Routers that streams go to in turn, each with state of its own.
        report_period_s: How often an engine reports; None is its settings' own.
        report_delay_s: From the engine to every router.
        report_loss: Share of the reports that one router never gets.
        replica_speeds: Of each replica, over the profile's; empty is 1 for all.
        at: The faults.
        resume_elsewhere: Streams that a killed replica had begun are continued by another.
        direct_streaming: Nobody tells a router that a stream has ended.

    Raises:
        UserError: There is not one speed for each replica, or a fault is on none of them.
    """

    replicas: int
    router_count: int = 1
    report_period_s: float | None = None
    report_delay_s: float = 0.005
    report_loss: float = 0.0
    replica_speeds: tuple[float, ...] = ()
    at: tuple[Fault, ...] = ()
    resume_elsewhere: bool = False
    direct_streaming: bool = False

    def __post_init__(self) -> None:
        given = len(self.replica_speeds)
        if given not in (0, self.replicas):
            raise UserError(
                f"--replica-speeds={','.join(f'{s:g}' for s in self.replica_speeds)} is "
                f"invalid: it must have {self.replicas} numbers, one for each replica, and "
                f"has {given}."
            )
        for fault in self.at:
            if fault.replica >= self.replicas:
                raise UserError(
                    f"--at {fault.at_s:g} {fault.kind} {fault.replica} is invalid: REPLICA "
                    f"must be a whole number from 0 to {self.replicas - 1}."
                )

    @property
    def speeds(self) -> tuple[float, ...]:
        """Of each replica, over the profile's."""
        return self.replica_speeds or (1.0,) * self.replicas


_OPTIONAL = tuple(f for f in Fleet.__struct_fields__ if f != "replicas")
# Only the defaults are read from it.
ONE_REPLICA = Fleet(replicas=1)


def take_fleet(given: dict[str, Any]) -> tuple[Fleet | None, tuple[PolicyName, ...]]:
    """Take the options of a fleet out of all; None and no routers without --replicas.

    Raises:
        UserError: A bad combination, or an option that has no effect without --replicas.
    """
    routers = tuple(given.pop("router", None) or ())
    replicas = given.pop("replicas", None)
    options = {name: _value(name, given) for name in _OPTIONAL}
    if replicas is not None:
        return Fleet(replicas=replicas, **options), routers or DEFAULT_ROUTERS
    without_effect = ["router"] if routers else _changed(options)
    if without_effect:
        flag = "--" + without_effect[0].replace("_", "-")
        raise UserError(f"{flag} has no effect without --replicas.")
    return None, ()


def _value(name: str, given: dict[str, Any]) -> Any:
    default = getattr(ONE_REPLICA, name)
    value = given.pop(name, None)
    value = default if value is None else value
    return tuple(value) if isinstance(default, tuple) else value


def _changed(options: Mapping[str, Any]) -> list[str]:
    return [name for name in _OPTIONAL if options[name] != getattr(ONE_REPLICA, name)]
