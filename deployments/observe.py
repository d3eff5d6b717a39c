"""`python -m deployments.observe`: Prometheus and Alertmanager on the running service.

Both are Debian's, run in the foreground and end with Ctrl-C or with the service.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import psutil
import ray
import typer
import yaml
from rich.console import Console

from deployments import cluster
from deployments.processes import ServiceError, end, port_is_free, wait_until
from deployments.running import recall
from deployments.service import RAY_TOKEN_PATH, RUN_DIR
from deployments.tiny_model import PROJECT_ROOT

RULES = PROJECT_ROOT / "dashboards" / "generated" / "andes.rules.yml"
HOME = RUN_DIR / "observe"
PROMETHEUS, ALERTMANAGER = "prometheus", "prometheus-alertmanager"
PROMETHEUS_PORT, ALERTMANAGER_PORT = 9090, 9093
# Ray tells its nodes' agents every 10 s; asking more often learns nothing.
SCRAPE_S = 10.0
TARGETS_PERIOD_S = 10.0
START_TIMEOUT_S, GRACE_S = 60.0, 10.0

app = typer.Typer(add_completion=False, help=__doc__)
console = Console()


@dataclass(frozen=True, slots=True)
class Observing:
    """Where Prometheus and Alertmanager are, on this machine only.

    Attributes:
        prometheus_url: Of the one, without a slash at its end.
        alertmanager_url: Of the other.
        refresh: Looks for nodes that came or went.
    """

    prometheus_url: str
    alertmanager_url: str
    refresh: Callable[[], None]


def metrics_targets(nodes: Sequence[dict[str, Any]]) -> list[str]:
    """Where each living Ray node shows its metrics; `nodes` is `ray.nodes()`."""
    return [
        f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
        for node in nodes
        if node["Alive"] and node["MetricsExportPort"]
    ]


def prometheus_config(
    rules: Path, scrape_s: float, alertmanager_port: int
) -> dict[str, Any]:
    """What Prometheus is told; it reads the nodes again whenever their file changes."""
    return {
        "global": {
            "scrape_interval": f"{scrape_s * 1000:.0f}ms",
            "evaluation_interval": f"{scrape_s * 1000:.0f}ms",
        },
        "rule_files": [str(rules)],
        "alerting": {
            "alertmanagers": [
                {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]}
            ]
        },
        "scrape_configs": [
            {
                "job_name": "ray",
                "file_sd_configs": [
                    {"files": [str(HOME / "targets.json")], "refresh_interval": "5s"}
                ],
                "metric_relabel_configs": [
                    # The same on every series, and new with every Ray.
                    {"action": "labeldrop", "regex": "SessionName|Version|otel_scope_.*"}
                ],
            }
        ],
    }


def alertmanager_config(webhook: str | None) -> dict[str, Any]:
    """What Alertmanager is told: whom to tell, or to show alerts on its page only."""
    receiver: dict[str, Any] = {"name": "operator"}
    if webhook:
        receiver["webhook_configs"] = [{"url": webhook, "send_resolved": True}]
    route = {
        "receiver": "operator",
        "group_by": ["alertname", "application"],
        "group_wait": "5s",
        "group_interval": "1m",
        "repeat_interval": "4h",
    }
    return {"route": route, "receivers": [receiver]}


@contextmanager
def observe(
    webhook: str | None = None,
    *,
    prometheus_port: int = PROMETHEUS_PORT,
    alertmanager_port: int = ALERTMANAGER_PORT,
    scrape_s: float = SCRAPE_S,
    rules: Path = RULES,
) -> Iterator[Observing]:
    """Prometheus and Alertmanager for the length of a `with` block, rules loaded.

    Args:
        webhook: URL that alerts are posted to.
        prometheus_port: On the loopback interface,
        alertmanager_port: as this one.
        scrape_s: Seconds between two looks at the service.
        rules: The file of rules.

    Raises:
        ServiceError: No service runs, a program or a port is missing, or one of the two
            did not come up.
    """
    programs = [_program(name) for name in (PROMETHEUS, ALERTMANAGER)]
    _require_free(prometheus_port, alertmanager_port)
    refresh = _join_service()
    HOME.mkdir(parents=True, exist_ok=True)
    refresh()
    urls = [f"http://127.0.0.1:{p}" for p in (prometheus_port, alertmanager_port)]
    configs = (
        prometheus_config(rules, scrape_s, alertmanager_port),
        alertmanager_config(webhook),
    )
    storages = ("--storage.tsdb.path", "--storage.path")
    # One that looks for peers takes a port of its own and waits for nobody.
    more: tuple[list[str], list[str]] = ([], ["--cluster.listen-address="])
    with ExitStack() as stack:
        for program, url, config, storage, options in zip(
            programs, urls, configs, storages, more, strict=True
        ):
            command = [
                program,
                f"--config.file={_written(Path(program).name, config)}",
                f"{storage}={HOME / Path(program).name}",
                f"--web.listen-address={url.removeprefix('http://')}",
                *options,
            ]
            stack.enter_context(_running(command, url))
        yield Observing(urls[0], urls[1], refresh)


@app.command()
def main(
    webhook: Annotated[str | None, typer.Option(help="URL to post alerts to.")] = None,
    prometheus_port: Annotated[int, typer.Option(help="Its port.")] = PROMETHEUS_PORT,
    alertmanager_port: Annotated[int, typer.Option(help="Its port.")] = ALERTMANAGER_PORT,
) -> None:
    """Start both, say where they are, and stop them with Ctrl-C or with the service."""
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    try:
        with observe(
            webhook, prometheus_port=prometheus_port, alertmanager_port=alertmanager_port
        ) as observing:
            console.print(f"Prometheus    [bold]{observing.prometheus_url}[/]")
            console.print(f"  alerts      {observing.prometheus_url}/alerts")
            console.print(f"Alertmanager  [bold]{observing.alertmanager_url}[/]")
            console.print("Dashboards: import dashboards/generated/*.json into Grafana;")
            console.print("docs/operations.md says how. Ctrl-C stops both.")
            _watch(observing.refresh)
    except KeyboardInterrupt:
        console.print("stopped")
    except ServiceError as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(1) from error


def _watch(refresh: Callable[[], None]) -> None:
    while recall(RUN_DIR):
        refresh()
        time.sleep(TARGETS_PERIOD_S)
    console.print("the service has ended")


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ServiceError(
            f"{name} is not installed: apt-get install {PROMETHEUS} {ALERTMANAGER}"
        )
    return path


def _require_free(*ports: int) -> None:
    for port in ports:
        if not port_is_free(port):
            raise ServiceError(f"port {port} is in use: free it, or choose another")


def _join_service() -> Callable[[], None]:
    """Become a client of the service's Ray; what is returned writes its nodes down."""
    running = recall(RUN_DIR)
    if running is None:
        raise ServiceError("no service is running here: `make run` starts one")
    if not ray.is_initialized():
        cluster.authenticate(RAY_TOKEN_PATH if running.own_ray else None)
        cluster.connect(running.ray_address)
    return _write_targets


def _write_targets() -> None:
    try:
        targets = metrics_targets(ray.nodes())
    except Exception as error:
        raise ServiceError(f"Ray does not answer any more: {error}") from error
    path = HOME / "targets.json"
    # Prometheus must never read half of it.
    path.with_suffix(".new").write_text(json.dumps([{"targets": targets}]))
    path.with_suffix(".new").replace(path)


def _written(name: str, config: dict[str, Any]) -> Path:
    path = HOME / f"{name}.yml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


@contextmanager
def _running(command: list[str], url: str) -> Iterator[None]:
    """The program of `command` for the length of a `with` block, once it is ready."""
    name = Path(command[0]).name
    log_path = HOME / f"{name}.log"
    with log_path.open("w") as log:
        # A session of its own: Ctrl-C is ours, and we end it.
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    problem = f"{name} did not start; see {log_path}"
    try:
        wait_until(
            lambda: _is_ready(url) or process.poll() is not None, START_TIMEOUT_S, problem
        )
        if process.poll() is not None:
            raise ServiceError(problem)
        yield
    finally:
        if process.poll() is None:
            end([psutil.Process(process.pid)], GRACE_S)
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    app()
