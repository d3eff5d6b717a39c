"""`andes soak`: the real service under mixed load and faults, and what must hold of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape

from bench.errors import INTERRUPTED, UserError
from bench.markdown import fill
from bench.results import environment
from bench.serving import serving
from bench.soak.checks import all_checks
from bench.soak.clients import Clients
from bench.soak.faults import Faults
from bench.soak.gauges import Gauges
from bench.soak.page import page
from bench.soak.plan import PlannedAsk, traffic
from bench.soak.rest import at_rest
from bench.soak.results import Soak
from deployments.running import recall
from deployments.service import RUN_DIR, Service

PAGE = Path("docs/reliability.md")
# Room for long streams, and too little for all of them.
OVERRIDES: Mapping[str, Any] = {
    "engine_kwargs": {"kv_cache_memory_bytes": 32 << 20, "max_model_len": 16_384}
}
UNDISTURBED_TOKENS = 400
# When nothing is sent or broken any more, streams have so long to end.
DRAIN_S = 240.0
# In the last part nothing is broken, so that the service is whole when it is looked at.
BREAKS_UNTIL = 0.85
TICK_S = 0.5


class SoakArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What `andes soak` was asked to do.

    Attributes:
        duration_s: How long requests are sent.
        rate: Requests/s, beside bursts and long streams.
        seed: Of requests, faults and victims.
        streaming: How tokens travel.
        faults: Whether anything is broken.
        config: The Serve config that is run.
        json: Where all of it is written; None for nowhere.
        publish: Whether the tables go into the docs.
        command: As it may be published.
    """

    duration_s: float
    rate: float
    seed: int
    streaming: str
    faults: bool
    config: Path
    json: Path | None
    publish: bool
    command: str


def run_soak(arguments: SoakArguments) -> int:
    """Soak the service, say what held and write it; the exit code.

    Raises:
        UserError: The service did not start or stop, or the run was stopped.
    """
    notes = Console(stderr=True, highlight=False)
    # Asked before the run: somebody may commit while it lasts.
    made_by = environment()
    overrides = {**OVERRIDES, "streaming": arguments.streaming}
    try:
        with serving(arguments.config, overrides, notes) as service:
            soak = soaked(service, arguments, notes)
    except KeyboardInterrupt:
        raise UserError("stopped: nothing is written.", exit_code=INTERRUPTED) from None
    soak = msgspec.structs.replace(soak, environment=made_by)
    text = page(soak)
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
    if arguments.json is not None:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(soak)))
        notes.print(f"wrote {escape(str(arguments.json))}")
    if arguments.publish and fill(PAGE, f"soak {arguments.streaming}", text):
        notes.print(f"filled {PAGE}")
    return 0 if soak.held else 1


def soaked(service: Service, arguments: SoakArguments, notes: Console) -> Soak:
    """Everything that was seen of a running service, and whether it held."""
    running = recall(RUN_DIR)
    assert running is not None, "it was started here"
    headers = service.config.authorization()
    clients = Clients(service.base_url, service.model, headers, _printer(notes))
    asyncio.run(clients.undisturbed(UNDISTURBED_TOKENS))
    gauges = Gauges(running, clients.now_s)
    before = at_rest(service, running, gauges)
    asks = traffic(arguments.seed, arguments.duration_s, arguments.rate)
    notes.print(
        f"{len(asks):,} requests in {arguments.duration_s:.0f} s to {service.base_url}"
    )
    faults = Faults(service, running, arguments.seed, clients.now_s)
    clients.begin()
    with _sending(clients, asks, arguments.duration_s) as sending, gauges.watching():
        while sending.is_alive():
            is_time = clients.now_s() < BREAKS_UNTIL * arguments.duration_s
            if arguments.faults and is_time and (fault := faults.next()):
                lasted = "never" if fault.whole_s is None else f"{fault.whole_s:.0f} s"
                notes.print(f"{fault.at_s:4.0f} s  {fault.name}; whole again: {lasted}")
            time.sleep(TICK_S)
    after = at_rest(service, running, gauges, before)
    return Soak(
        command=arguments.command,
        environment=environment(),
        streaming=arguments.streaming,
        duration_s=arguments.duration_s,
        started=clients.started,
        ended=clients.ended,
        faults=faults.done,
        before=before,
        after=after,
        series=gauges.series,
        checks=all_checks(
            clients.started, clients.ended, faults.done, gauges.series, before, after
        ),
    )


@contextmanager
def _sending(
    clients: Clients, asks: list[PlannedAsk], duration_s: float
) -> Iterator[Thread]:
    """The clients at work in a thread of their own, which faults do not hold up."""
    until_s = duration_s + DRAIN_S
    thread = Thread(target=lambda: asyncio.run(clients.run(asks, until_s)), daemon=True)
    thread.start()
    yield thread
    thread.join()


def _printer(notes: Console) -> Any:
    return lambda said: notes.print(f"[red]wrong[/red] {escape(said)}", soft_wrap=True)
