"""One load on a service that is started for it, and gone afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
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
from deployments.config import ConfigError
from deployments.processes import ServiceError
from deployments.service import service


def serve_and_load(
    config: Path,
    overrides: Mapping[str, Any],
    arguments: BenchArguments,
    requests: list[Request],
    notes: Console,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> tuple[Load, list[Stream]]:
    """Start the service of `config`, load it, and stop it.

    Args:
        config: A Serve config.
        overrides: Changes of its `args`.
        arguments: The load, as `andes bench` takes it; its endpoint is filled in.
        requests: What arrives.
        notes: Where progress is shown.
        around: Entered once the service answers, left with the last token.

    Raises:
        UserError: The service cannot be served, or did not start.
        KeyboardInterrupt: Stopped.
    """
    try:
        with (
            notes.status("starting") as status,
            service(config, overrides, progress=status.update) as running,
        ):
            status.stop()
            with around():
                return _load(arguments, running.base_url, requests, notes)
    except (ConfigError, ServiceError) as error:
        raise UserError(str(error), exit_code=1) from error


def _load(
    arguments: BenchArguments, base_url: str, requests: list[Request], notes: Console
) -> tuple[Load, list[Stream]]:
    model = find_model(base_url, None)
    load = make_load(
        msgspec.structs.replace(arguments, max_context_tokens=model.max_context_tokens),
        requests,
    )
    endpoint = Endpoint(
        base_url, model.name, seed=arguments.seed, cache_salt=secrets.token_hex(16)
    )
    notes.print(f"{len(load.streams):,} requests to {endpoint.base_url}")
    with progress_bar(notes) as on_progress:
        streams = run_load(load, endpoint, on_progress=on_progress)
    if was_interrupted(load, streams):
        # The client took it as the end of the run, to keep what `andes bench` reports.
        raise KeyboardInterrupt
    return load, streams
