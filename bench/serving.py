"""A service that is started for a measurement, and one load on it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from bench.arguments import BenchArguments
from bench.client import run_load
from bench.endpoint import Endpoint, find_model
from bench.errors import UserError
from bench.live import make_load, was_interrupted
from bench.load import Load
from bench.progress import progress_bar
from bench.results import Stream
from bench.traces import Request
from deployments.config_errors import ConfigError
from deployments.processes import ServiceError
from deployments.service import Service, service


@contextmanager
def serving(
    config: Path, overrides: Mapping[str, Any], notes: Console
) -> Iterator[Service]:
    """The service of `config` for the length of a `with` block; a line says what it does.

    Args:
        config: A Serve config.
        overrides: Changes of its `args`.
        notes: Where progress is shown; inside the block it is the caller's.

    Raises:
        UserError: The service cannot be served, did not start, or not stop.
    """
    try:
        with (
            notes.status("starting") as status,
            service(config, overrides, progress=status.update) as running,
        ):
            status.stop()
            try:
                yield running
            finally:
                status.start()
    except (ConfigError, ServiceError) as error:
        raise UserError(str(error), exit_code=1) from error


def load_service(
    base_url: str, arguments: BenchArguments, requests: list[Request], notes: Console
) -> tuple[Load, list[Stream]]:
    """Send the requests to a running service, and wait for every answer.

    Raises:
        KeyboardInterrupt: Stopped.
    """
    load, endpoint = planned(base_url, arguments, requests)
    notes.print(f"{len(load.streams):,} requests to {endpoint.base_url}")
    with progress_bar(notes) as on_progress:
        streams = run_load(load, endpoint, on_progress=on_progress)
    if was_interrupted(load, streams):
        # The client took it as the end of the run, to keep what `andes bench` reports.
        raise KeyboardInterrupt
    return load, streams


def planned(
    base_url: str, arguments: BenchArguments, requests: list[Request]
) -> tuple[Load, Endpoint]:
    """The requests as this service can take them, and how to reach it."""
    model = find_model(base_url, None)
    load = make_load(
        msgspec.structs.replace(arguments, max_context_tokens=model.max_context_tokens),
        requests,
    )
    endpoint = Endpoint(
        base_url, model.name, seed=arguments.seed, cache_salt=secrets.token_hex(16)
    )
    return load, endpoint
