"""`python -m deployments.launch run | stop`: the service in the foreground, and its end."""

from __future__ import annotations

import json
import logging
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from deployments.config_errors import ConfigError
from deployments.demo_page import PATH
from deployments.processes import ServiceError, end
from deployments.running import recall
from deployments.service import RUN_DIR, Service, service, stop
from deployments.service_config import DEFAULT_CONFIG

# A real model may have to be downloaded first.
START_TIMEOUT_S = 3600.0
LAUNCHER_GRACE_S = 120.0
WATCH_S = 1.0
OPEN_TO_ALL = (
    "WARNING: it listens on {host} and asks for no API key: whoever reaches this machine "
    "may use the model. ANDES_API_KEYS or args.api_keys_file set keys."
)

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
console = Console()


@app.command("run")
def run_command(
    config: Annotated[Path, typer.Option(help="A Serve config.")] = DEFAULT_CONFIG,
    port: Annotated[int | None, typer.Option(help="Instead of the file's.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Interface: the file's, else this machine only.")
    ] = None,
) -> None:
    """Start the service, say where it is, and stop it with Ctrl-C."""
    # Serve tells every process that talks to it about its long poll.
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, _interrupt)
    started_s = time.monotonic()
    try:
        with (
            console.status("starting") as status,
            service(
                config,
                port=port,
                host=host,
                start_timeout_s=START_TIMEOUT_S,
                progress=status.update,
            ) as running,
        ):
            status.stop()
            _announce(running, time.monotonic() - started_s)
            _watch()
    except KeyboardInterrupt:
        console.print("stopped")
    except (ConfigError, ServiceError) as error:
        _fail(error)


@app.command("stop")
def stop_command() -> None:
    """Stop the service, wherever it was started, with its HAProxy and its own Ray."""
    try:
        running = recall(RUN_DIR)
        if running and (launcher := running.launcher.find()):
            end([launcher], LAUNCHER_GRACE_S)
        # A launcher that ended well has left nothing to do.
        stop()
    except ServiceError as error:
        _fail(error)
    console.print("stopped" if running else "no service of ours is running")


def _announce(running: Service, took_s: float) -> None:
    request = {
        "model": running.model,
        "stream": True,
        "max_tokens": 64,
        "messages": [{"role": "user", "content": "Tell me a story about a river."}],
        "vllm_xargs": {"qoe_ttft_s": 1.0, "qoe_tds": 4.8},
    }
    console.print(f"Ready after {took_s:.0f} s: [bold]{running.base_url}[/]. Try it:\n")
    console.print(
        f"curl -N {running.base_url}/chat/completions {_key_option(running)}"
        f"-H 'Content-Type: application/json' -d '{json.dumps(request)}'\n",
        soft_wrap=True,
        markup=False,
        highlight=False,
    )
    page = running.base_url.removesuffix("/v1") + PATH
    console.print(f"In a browser: [bold]{page}[/]. Ctrl-C stops it; so does `make stop`.")
    if not (running.config.is_local or running.config.authorization()):
        console.print(OPEN_TO_ALL.format(host=running.config.host), style="bold red")


def _key_option(running: Service) -> str:
    is_asked_for = bool(running.config.authorization())
    return '-H "Authorization: Bearer $KEY" ' if is_asked_for else ""


def _watch() -> None:
    while recall(RUN_DIR):
        time.sleep(WATCH_S)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    # Once: what comes next is the clean-up, and nobody gains if that is interrupted.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _fail(error: Exception) -> None:
    console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    # The default handler would let a second Ctrl-C interrupt the clean-up.
    signal.signal(signal.SIGINT, _interrupt)
    app()
