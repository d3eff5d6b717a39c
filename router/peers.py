"""Replicas that ask one another, past the choice that a router makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from router.admission import Shed
from router.turns import Ranks


@dataclass(frozen=True, slots=True)
class Pinned:
    """First argument of a call that no other replica can answer.

    Attributes:
        to: Unique id of the replica that is meant.
    """

    to: str


def pinned_to(args: Sequence[object]) -> str | None:
    """Which replica a call with these arguments is meant for; None for any."""
    first = args[0] if args else None
    return first.to if isinstance(first, Pinned) else None


def only(replica_ids: Sequence[str], to: str) -> Ranks | Shed:
    """The replica that is meant alone; nobody else is as good."""
    return [[replica_ids.index(to)]] if to in replica_ids else Shed(retry_after_s=0.0)


# By deployment, in this process: a router is made by Serve, in a thread of its own, and
# nobody else gets hold of it. Serve ships routers by value, with a copy of each object that
# they refer to; so they come here by the functions below, which are shipped by name.
_endpoints: dict[str, Mapping[str, str]] = {}
_choosing_nothing: set[str] = set()


def choose_nothing(deployment: str) -> None:
    """All calls of this process to `deployment` will be pinned.

    Its router needs no reports then, and has nothing to tell of itself.
    """
    _choosing_nothing.add(deployment)


def chooses(deployment: str) -> bool:
    """Whether a router of this process may have to choose among those of `deployment`."""
    return deployment not in _choosing_nothing


def tell(deployment: str, endpoints: Mapping[str, str]) -> None:
    """These are the replicas of `deployment` now: id and endpoint of each."""
    _endpoints[deployment] = dict(endpoints)


def endpoints_of(deployment: str) -> Mapping[str, str]:
    """What was told of `deployment` last; empty if nothing was."""
    return _endpoints.get(deployment, {})
