"""Real Prometheus on the real service: what operators see is there, and right."""

from __future__ import annotations

import json
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import yaml

if TYPE_CHECKING:
    from conftest import Client

from dashboards import runbooks
from deployments.observe import ALERTMANAGER, PROMETHEUS, RULES, Observing, observe
from deployments.processes import free_port
from telemetry.catalogue import CATALOGUE, Metric

BOARDS = [p for p in sorted(RULES.parent.glob("*.json")) if p.stem != runbooks.UID]
OURS = [metric for metric in CATALOGUE if metric.source in ("engine", "router")]
# What Serve adds to what a replica publishes, and we to what a router does.
PLACE = {"engine": {"application", "deployment", "replica"},
         "router": {"application", "deployment"}}  # fmt: skip
RAYS = {"Component", "NodeAddress", "WorkerId", "instance", "job", "__name__", "le"}
PROFILES = ("reading", "listening", "none")
# Nobody can be served like this: such streams end below target, and are below it now.
HASTY = {"qoe_ttft_s": 0.01, "qoe_tds": 1000.0}
PATIENT = {"qoe_ttft_s": 600.0, "qoe_tds": 1.0}
GRAFANAS = {"$application": ".*", "$__rate_interval": "2m", "$__range": "5m"}
LOAD_S, IDLE_S, SEEN_S = 35.0, 35.0, 90.0
# Ray forgets a gauge after two of its periods of 10 s; the rest is for a page that is late.
GONE_S, RESTART_S = 30.0, 300.0
SELECTOR = re.compile(r"\b(?:ray_|andes:)[a-zA-Z0-9_:]+(?:\{[^}]*\})?")


@dataclass
class Observed:
    """Prometheus and Alertmanager on a service, and what a webhook was told."""

    observing: Observing
    alerts: list[dict[str, Any]] = field(default_factory=list)

    def query(self, expr: str) -> list[dict[str, Any]]:
        answer = httpx.get(
            f"{self.observing.prometheus_url}/api/v1/query",
            params={"query": expr},
            trust_env=False,
        ).json()
        assert answer["status"] == "success", (expr, answer)
        return answer["data"]["result"]

    def total(self, metric: Metric, matcher: str = "") -> float:
        # A page that was missed makes its series stale, not its totals wrong.
        found = self.query(f"sum(last_over_time({metric.exposed}{{{matcher}}}[5m]))")
        return float(found[0]["value"][1]) if found else 0.0


def wait_for(what: Callable[[], Any], why: str, timeout_s: float = SEEN_S) -> Any:
    deadline_s = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline_s, why
        time.sleep(0.5)
    return found


@pytest.fixture(scope="module")
def webhook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    told: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            told.extend(json.loads(body)["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", told
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def impatient_rules(tmp_path_factory: Any) -> Path:
    """The rules as they are, with nobody waiting for minutes."""
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        group["interval"] = "2s"
        for rule in group["rules"]:
            if "alert" in rule:
                rule["for"] = "0s"
    path = tmp_path_factory.mktemp("rules") / "rules.yml"
    path.write_text(yaml.safe_dump(rules))
    return path


@pytest.fixture
def observed(
    direct: Client, webhook: Any, impatient_rules: Path, running: dict[str, Any]
) -> Observed:
    """The same for all tests of this file, with a load that has been and gone."""
    if "observed" not in running:
        for program in (PROMETHEUS, ALERTMANAGER):
            if shutil.which(program) is None:
                pytest.fail(f"{program} is missing: apt-get install {program}")
        url, told = webhook
        context = observe(
            url,
            prometheus_port=free_port(),
            alertmanager_port=free_port(),
            # It gives up on a page after as long: one of a busy machine takes a second.
            scrape_s=3.0,
            rules=impatient_rules,
        )
        running["observed"] = Observed(context.__enter__(), told)
        running["end"] = lambda: context.__exit__(None, None, None)
        _load(direct)
        running["idle_since_s"] = time.monotonic()
    observed: Observed = running["observed"]
    return observed


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, Any]]:
    state: dict[str, Any] = {"end": lambda: None}
    yield state
    state["end"]()


def _load(client: Client) -> None:
    """More streams than fit, of every class, for as long as Ray takes to tell twice."""
    ends_at_s = time.monotonic() + LOAD_S

    def read_on(number: int) -> None:
        profile = {"qoe_profile": PROFILES[number % 3]} if number < 6 else HASTY
        ask = partial(client.complete, "x" * 200, stream=True, vllm_xargs=profile)
        while time.monotonic() < ends_at_s:
            ask(max_tokens=400 if number % 2 else 150)

    threads = [threading.Thread(target=read_on, args=(i,)) for i in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _resolved(expr: str) -> str:
    for name, value in GRAFANAS.items():
        expr = expr.replace(name, value)
    return expr


def test_an_alert_about_readers_reaches_the_webhook(observed: Observed) -> None:
    def told() -> list[Any]:
        name = "AndesReadersBelowTargetNow"
        return [a for a in observed.alerts if a["labels"]["alertname"] == name]

    alert = wait_for(told, "nobody was told that readers suffer")[0]
    assert alert["labels"]["application"] == "andes"
    assert "are below target" in alert["annotations"]["summary"]
    assert alert["annotations"]["runbook_url"].endswith("/readers-below-target-now.md")


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_panel_shows_something(observed: Observed, path: Path) -> None:
    wait_for(lambda: observed.query("andes:qoe_bad:ratio_rate3d"), "no rule was evaluated")
    missing = [
        f"{panel['title']}: {target['expr']}"
        for panel in json.loads(path.read_text())["panels"]
        for target in panel.get("targets", [])
        if not observed.query(_resolved(target["expr"]))
    ]
    # Its reader is gone by now.
    assert [text for text in missing if "Buffered reading time" not in text] == []


def test_every_series_that_a_rule_asks_for_is_there(observed: Observed) -> None:
    rules = [r for g in yaml.safe_load(RULES.read_text())["groups"] for r in g["rules"]]
    selectors = {s for rule in rules for s in SELECTOR.findall(rule["expr"])}
    assert len(selectors) > 20
    missing = [s for s in selectors if not observed.query(s)]
    # Nobody agreed to be refused.
    assert [s for s in missing if "shed" not in s] == []
    for rule in rules:
        observed.query(rule["expr"])


@pytest.mark.parametrize("metric", OURS, ids=lambda metric: metric.name)
def test_labels_and_buckets_are_those_of_the_catalogue(
    observed: Observed, metric: Metric
) -> None:
    name = metric.exposed + ("_bucket" if metric.bounds else "")
    found = observed.query(f"last_over_time({name}[10m])")
    assert found, "it was never published"
    for series in found:
        assert set(series["metric"]) - RAYS == PLACE[metric.source] | set(metric.labels)
        for label, values in metric.labels.items():
            assert not values or series["metric"][label] in values
    edges = {series["metric"].get("le") for series in found} - {None, "+Inf"}
    assert {float(edge) for edge in edges} == set(metric.bounds)


def test_the_mean_of_a_scripted_load_is_exact(
    observed: Observed, direct: Client, running: dict[str, Any]
) -> None:
    sums, counts = (m for m in OURS if m.name in ("andes_qoe_score_exact_sum",
                                                  "andes_streams_finished"))  # fmt: skip
    custom = 'qoe_class="custom"'
    _settle(observed, counts, direct)
    before = observed.total(sums, custom), observed.total(counts, custom)
    # One token that comes late leaves nothing to read in time: QoE 0. In time: QoE 1.
    script = [PATIENT] * 5 + [HASTY] * 3
    prompts = [f"{number} " + "y" * 1500 for number in range(len(script))]
    for prompt, reader in zip(prompts, script, strict=True):
        direct.complete(prompt, max_tokens=1, vllm_xargs=reader)
    running["idle_since_s"] = time.monotonic()
    wait_for(
        lambda: observed.total(counts, custom) - before[1] == len(script),
        "finished streams never reached Prometheus",
    )
    wait_for(lambda: observed.total(sums, custom) > before[0], "their QoE did not")
    mean = (observed.total(sums, custom) - before[0]) / len(script)
    assert mean == pytest.approx(5 / 8, abs=1e-3)


def _settle(observed: Observed, metric: Metric, client: Client) -> None:
    """Until Prometheus knows of every stream that has ended."""
    finished = sum(report.finished_total for report in client.settled().values())
    wait_for(
        lambda: observed.total(metric) == finished,
        f"{finished} streams ended, and Prometheus never counted as many",
    )


def test_gauges_are_still_there_when_nobody_has_come_for_a_while(
    observed: Observed, running: dict[str, Any]
) -> None:
    since_s = time.monotonic() - running["idle_since_s"]
    if since_s < IDLE_S:
        time.sleep(IDLE_S - since_s)
    gauges = [m for m in OURS if m.kind in ("gauge", "info") and not m.lapses]
    for metric in gauges:
        replicas = 2 if metric.source == "engine" else 1
        # Within two looks: only one may have been missed.
        found = observed.query(f"last_over_time({metric.exposed}[7s])")
        assert len(found) >= replicas * len(metric.tags), metric.name


def test_vllms_own_metrics_are_beside_ours(observed: Observed) -> None:
    assert observed.query("ray_vllm_time_to_first_token_seconds_count")


# The last one: it leaves the service with another replica.
def test_a_dead_replica_leaves_what_is_shown_of_now(
    observed: Observed, direct: Client
) -> None:
    replicas = direct.service.handle().broadcast("engine_report").results(timeout_s=30.0)
    of_dead = f'replica="{replicas[0]["replica_id"]}"'
    gauges = [m.exposed for m in OURS if m.kind in ("gauge", "info")]

    def is_counted() -> bool:
        return any(observed.query(f"{name}{{{of_dead}}}") for name in gauges)

    assert is_counted()
    psutil.Process(replicas[0]["pid"]).send_signal(signal.SIGKILL)
    wait_for(lambda: not is_counted(), "a dead replica is still counted", GONE_S)
    panels = [panel for path in BOARDS for panel in json.loads(path.read_text())["panels"]]
    queries = [t["expr"] for panel in panels for t in panel.get("targets", ())]
    # Those that look at no past are about now.
    for query in (q for q in queries if "[" not in q and "ray_andes" in q):
        for shown in observed.query(_resolved(query)):
            assert shown["metric"].get("replica") != replicas[0]["replica_id"], query
    wait_for(
        lambda: len([r for r in direct.service.reports().values() if r]) == len(replicas),
        "nobody replaced the dead one",
        RESTART_S,
    )
