"""What a soak breaks, when, and whether the service is whole again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import httpx
import psutil

from bench.soak.members import (
    Replica,
    engine_of,
    haproxy_of,
    kill,
    process_of,
    replicas,
    report_of,
    router_of,
)
from bench.soak.plan import DIRECT_FAULTS, fault_order
from bench.soak.results import InjectedFault
from deployments.running import Running
from deployments.service import Service

# Longer than what makes a report stale, shorter than what has an engine killed.
FROZEN_S = 6.0
CALM_S = 5.0
WHOLE_S = 240.0
LOOK_S = 0.5


class Faults:
    """Breaks one thing after the other, each once the service is whole again.

    Args:
        service: What is broken.
        running: Its processes.
        seed: Of order and victims.
        now_s: Since the start of the soak.

    Attributes:
        done: What was broken.
    """

    def __init__(
        self, service: Service, running: Running, seed: int, now_s: Callable[[], float]
    ) -> None:
        self._service, self._running, self._now_s = service, running, now_s
        self._order, self._rng = fault_order(seed, service.config.args.streaming)
        self._calm_from_s = 0.0
        self.done: list[InjectedFault] = []

    def next(self) -> InjectedFault | None:
        """Break the next thing if it is time, and wait until all is whole again."""
        if self._now_s() < self._calm_from_s + CALM_S:
            return None
        name = self._order[len(self.done) % len(self._order)]
        at_s, streams, victim = self._break(name)
        whole = self._until_whole(victim if name.startswith("kill") else None)
        fault = InjectedFault(
            name=name, at_s=at_s, whole_s=self._now_s() if whole else None, streams=streams
        )
        self._calm_from_s = self._now_s()
        self.done.append(fault)
        return fault

    def _break(self, name: str) -> tuple[float, int | None, Replica | None]:
        """When it was broken, the streams of an engine that was hit, and its replica."""
        if name in DIRECT_FAULTS:
            find = router_of if name == "kill_router" else haproxy_of
            at_s = self._now_s()
            kill(find(self._running))
            return at_s, None, None
        victim = self._victim()
        report = report_of(victim)
        process = engine_of(victim) if name.endswith("engine") else process_of(victim)
        at_s = self._now_s()
        if name.startswith("kill"):
            kill(process)
        else:
            freeze(process, FROZEN_S)
        return at_s, report.running + report.waiting, victim

    def _victim(self) -> Replica:
        found = replicas(self._service)
        return found[sorted(found)[self._rng.integers(len(found))]]

    def _until_whole(self, gone: Replica | None) -> bool:
        deadline_s = time.monotonic() + WHOLE_S
        while time.monotonic() < deadline_s:
            time.sleep(LOOK_S)
            # Who is just dying, or just coming, may not answer.
            with suppress(Exception):
                if is_whole(self._service, gone):
                    return True
        return False


def freeze(process: psutil.Process, seconds: float) -> None:
    """Let it do nothing for a time; it goes on if nobody has ended it meanwhile."""
    process.suspend()
    try:
        time.sleep(seconds)
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def is_whole(service: Service, gone: Replica | None = None) -> bool:
    """Whether all replicas take streams, not counting `gone`, and a request is served."""
    found = replicas(service)
    if gone is not None and gone["report"]["epoch"] in {
        replica["report"]["epoch"] for replica in found.values()
    }:
        return False
    takes = [replica for replica in found.values() if report_of(replica).accepting]
    return len(takes) == service.config.args.replicas and is_served(service)


def is_served(service: Service) -> bool:
    """Whether a request of one token is answered."""
    body = {"model": service.model, "prompt": "Hello", "max_tokens": 1}
    url = f"{service.base_url}/completions"
    headers = service.config.authorization()
    with httpx.Client(trust_env=False, timeout=10.0, headers=headers) as client:
        return client.post(url, json=body).status_code == httpx.codes.OK
