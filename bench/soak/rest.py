"""A service with nothing to do: whether it knows so, and what it holds then."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import ray

from bench.soak.gauges import Gauges, by_roles, temporary_files
from bench.soak.members import counts, replicas, report_of
from bench.soak.results import Rest
from bench.top.command import read_fleet_of
from deployments.observe import metrics_targets
from deployments.running import Running
from deployments.service import Service
from telemetry.report import EngineReport

# Ray publishes a metric every ten seconds, and a ledger forgets after as long.
REST_S = 60.0
LOOK_S = 1.0


def at_rest(
    service: Service,
    running: Running,
    gauges: Gauges,
    before: Rest | None = None,
    timeout_s: float = REST_S,
) -> Rest:
    """The service once it is at rest, or as it is when the time is over.

    Args:
        service: Of which nobody asks anything any more.
        running: Its processes.
        gauges: Looks at them.
        before: It has as many processes then; None for as many as there are.
        timeout_s: How long to wait.
    """
    began_s = time.monotonic()
    while True:
        rest = _look(service, running, gauges, time.monotonic() - began_s)
        is_alike = before is None or rest.processes == before.processes
        if (rest.is_empty and is_alike) or rest.after_s > timeout_s:
            return rest
        time.sleep(LOOK_S)


def _look(service: Service, running: Running, gauges: Gauges, after_s: float) -> Rest:
    held = by_roles(gauges.look())
    return Rest(
        after_s=after_s,
        busy=_or_why(lambda: _busy(service)),
        on_their_way=on_their_way(),
        processes=counts(running),
        sockets={role: sockets for role, (sockets, _) in held.items()},
        descriptors={role: descriptors for role, (_, descriptors) in held.items()},
        files=temporary_files(running),
    )


def _or_why(look: Callable[[], dict[str, str]]) -> dict[str, str]:
    try:
        return look()
    except Exception as error:
        return {"all": f"{type(error).__name__}: {error}"}


def _busy(service: Service) -> dict[str, str]:
    found = {name: report_of(replica) for name, replica in replicas(service).items()}
    busy = {name: why for name, report in found.items() if (why := not_at_rest(report))}
    missing = service.config.args.replicas - len(found)
    return busy | ({"missing": f"{missing} replicas"} if missing else {})


def not_at_rest(report: EngineReport) -> str:
    """What an engine still has, by its report; empty for nothing."""
    left = {
        "running": report.running,
        "waiting": report.waiting,
        "accepted and not finished": report.accepted_total - report.finished_total,
        "KV blocks": report.kv_blocks_used,
        "tokens of demand": report.demand_tokens,
        "plans that failed": report.plan_failures_total,
    }
    return ", ".join(f"{count} {what}" for what, count in left.items() if count)


def on_their_way() -> float:
    """Streams in the ledgers of all routers, by their metric; infinite where none tells."""
    nodes: list[dict[str, Any]] = ray.nodes()
    urls = [f"http://{target}/metrics" for target in metrics_targets(nodes)]
    with suppress(Exception), httpx.Client(timeout=10.0, trust_env=False) as client:
        return read_fleet_of(urls, client).router.on_their_way
    return float("inf")
