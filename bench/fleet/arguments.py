"""What a replay of many replicas was asked for. No vLLM here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from bench.errors import UserError
from bench.fleet.faults import Fault
from bench.fleet.scaling import Scaling
from router.settings import PolicyName

# Fewer are not worth a process.
REPLICAS_PER_WORKER = 16

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
        engine_size: Memory, limits and work of a step of each replica, over the profile's.
        at: The faults.
        resume_elsewhere: Streams that a killed replica had begun are continued by another.
        direct_streaming: Nobody tells a router that a stream has ended.
        autoscale: Who changes the number of replicas, each in a run of its own; empty is
            nobody.
        min_replicas: Never fewer,
        max_replicas: and never more, with `autoscale`.
        startup_s: From the order of a replica to its first stream.
        autoscale_period_s: How often the autoscaler is asked; None is once per push of the
            replicas' numbers.
        workers: Processes that share the replicas; they change nothing of what comes out.

    Raises:
        UserError: There is not one speed for each replica, a fault is on none of them, or
            the fleet starts outside of its bounds.
    """

    replicas: int
    router_count: int = 1
    report_period_s: float | None = None
    report_delay_s: float = 0.005
    report_loss: float = 0.0
    replica_speeds: tuple[float, ...] = ()
    engine_size: int = 1
    at: tuple[Fault, ...] = ()
    resume_elsewhere: bool = False
    direct_streaming: bool = False
    autoscale: tuple[Scaling, ...] = ()
    min_replicas: int = 1
    max_replicas: int = 8
    # Weights on a local disk and a warm compile cache; a cold node takes minutes.
    startup_s: float = 30.0
    autoscale_period_s: float | None = None
    workers: int = 1

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

        if self.autoscale:
            self._require_bounds()

    def _require_bounds(self) -> None:
        low, high = self.min_replicas, self.max_replicas
        if high < low:
            raise UserError(
                f"--max-replicas={high} is invalid: it must be at least "
                f"--min-replicas={low}."
            )
        if not low <= self.replicas <= high:
            raise UserError(
                f"--replicas={self.replicas} is invalid: with --autoscale it must be from "
                f"--min-replicas={low} to --max-replicas={high}."
            )

    @property
    def speeds(self) -> tuple[float, ...]:
        """Of each replica, over the profile's."""
        return self.replica_speeds or (1.0,) * self.replicas


_OF_AUTOSCALING = ("min_replicas", "max_replicas", "startup_s", "autoscale_period_s")
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
    asked_workers = given.get("workers")
    options = {name: _value(name, given) for name in _OPTIONAL}
    if replicas is not None:
        _require_autoscale(options)
        if not asked_workers:
            options["workers"] = default_workers(replicas)
        return Fleet(replicas=replicas, **options), routers or DEFAULT_ROUTERS
    without_effect = ["router"] if routers else _changed(options)
    if without_effect:
        raise UserError(f"{_flag(without_effect[0])} has no effect without --replicas.")
    return None, ()


def default_workers(replicas: int) -> int:
    """One process for a few replicas: each takes seconds to load vLLM."""
    return max(1, min(os.cpu_count() or 1, replicas // REPLICAS_PER_WORKER))


def _require_autoscale(options: Mapping[str, Any]) -> None:
    changed = [name for name in _changed(options) if name in _OF_AUTOSCALING]
    if changed and not options["autoscale"]:
        raise UserError(f"{_flag(changed[0])} has no effect without --autoscale.")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _value(name: str, given: dict[str, Any]) -> Any:
    default = getattr(ONE_REPLICA, name)
    value = given.pop(name, None)
    value = default if value is None else value
    return tuple(value) if isinstance(default, tuple) else value


def _changed(options: Mapping[str, Any]) -> list[str]:
    return [name for name in _OPTIONAL if options[name] != getattr(ONE_REPLICA, name)]
