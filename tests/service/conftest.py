"""A real service on this machine: Ray, HAProxy, two vLLM engines. One at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.soak.command import OVERRIDES as SOAK
from deployments.processes import (
    free_port,
    port_is_free,
    processes_of_session,
    processes_with,
)
from deployments.running import Running, recall
from deployments.service import RUN_DIR, Service, service
from telemetry.report import EngineReport

# 3,072 tokens an engine: a dozen streams do not fit.
SCARCE_KV = {"kv_cache_memory_bytes": 3 * 1024 * 1024, "max_model_len": 2048}
KEYS_FILE = RUN_DIR / "test-keys.yaml"
# Requests that an engine holds where a test floods it.
LIMIT = 24
# A replica that replaces a dead one gets its share at once: tests look at shares.
NO_SLOW_START = {"slow_start_s": 0.0}
# A service each: a start takes a minute, so that a test takes one that is there.
OVERRIDES: dict[str, dict[str, Any]] = {
    "direct": {"engine_kwargs": SCARCE_KV, "router_settings": NO_SLOW_START},
    # The same behind Serve's own ingress, and with keys.
    "handle": {
        "streaming": "handle",
        "engine_kwargs": SCARCE_KV,
        "router_settings": NO_SLOW_START,
        "api_keys_file": str(KEYS_FILE),
    },
    "pair": {
        "streaming": "handle",
        "engine_kwargs": SCARCE_KV,
        "max_ongoing_requests": LIMIT,
        "router_settings": NO_SLOW_START,
    },
    # Eight streams an engine that last for minutes.
    "long": {
        "engine_kwargs": {"kv_cache_memory_bytes": 128 << 20, "max_model_len": 16_384},
        "router_settings": NO_SLOW_START,
    },
    "keyed": {
        "replicas": 1,
        "engine_kwargs": SCARCE_KV,
        "max_ongoing_requests": LIMIT,
        "api_keys_file": str(KEYS_FILE),
    },
    "soaked": dict(SOAK),
    "scaling": {
        "replicas": 1,
        "autoscaling": {
            "min_replicas": 1,
            "max_replicas": 2,
            "down_after_s": 10,
            "down_every_s": 5,
        },
        # Room for two long streams, and for a dozen of a burst.
        "engine_kwargs": {"kv_cache_memory_bytes": 6 << 20, "max_model_len": 2048},
        "router_settings": NO_SLOW_START,
    },
}
# As an operator writes them; the first one is ours.
KEYS = """
- {name: tests, key: of-the-tests-of-the-service}
- {name: voice, key: of-somebody-who-listens, default_profile: listening, max_weight: 3}
- {name: hasty, key: of-somebody-in-a-hurry, max_requests_per_s: 0.5}
"""
SETTLE_S = 30.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [at for at, item in enumerate(items) if "tests/service/" in item.nodeid]
    ours = [items[at] for at in places]
    for item in ours:
        item.add_marker(pytest.mark.service)
        # The first test of a service waits for its start.
        item.add_marker(pytest.mark.timeout(480))
    for at, item in zip(places, sorted(ours, key=_turn), strict=True):
        items[at] = item


def _turn(item: pytest.Item) -> tuple[str, bool]:
    """All tests of a service together, since each start takes a minute; kills come last."""
    names = getattr(item, "fixturenames", ())
    service_name = next((name for name in OVERRIDES if name in names), "")
    return service_name, "/faults/" in item.nodeid


class Slot:
    """The one place for a service; the next one takes it when the last has gone."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._name: str | None = None
        self._service: Service | None = None
        self._running: Running | None = None

    def take(self, name: str) -> Service:
        if self._name != name or self._service is None:
            self.leave()
            RUN_DIR.mkdir(exist_ok=True)
            KEYS_FILE.write_text(KEYS)
            context = service(overrides=OVERRIDES[name], port=free_port())
            self._service = self._stack.enter_context(context)
            self._name = name
            self._running = recall(RUN_DIR)
        return self._service

    def leave(self) -> None:
        """Stop the service, and see that nothing of it is left."""
        self._service = None
        self._stack.close()
        if running := self._running:
            self._running = None
            assert recall(RUN_DIR) is None
            assert processes_with(running.haproxy_mark) == []
            assert not Path(running.haproxy_mark).exists()
            assert all(port_is_free(port) for port in running.ports)
            if running.own_ray:
                assert processes_of_session(running.own_ray.head.pid) == []


@pytest.fixture(scope="session")
def slot() -> Iterator[Slot]:
    slot = Slot()
    yield slot
    slot.leave()


@dataclass(frozen=True)
class Answer:
    """A finished answer: its status, what was written, and when each chunk came."""

    status: int
    body: bytes
    chunks: tuple[dict[str, Any], ...]
    received_at_s: tuple[float, ...]

    @property
    def text(self) -> str:
        return "".join(_text(chunk) for chunk in self.chunks)

    @property
    def usage(self) -> dict[str, Any]:
        usage: dict[str, Any] = self.chunks[-1]["usage"]
        return usage

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


def _text(chunk: dict[str, Any]) -> str:
    if not chunk["choices"]:
        return ""
    (choice,) = chunk["choices"]
    return choice.get("text") or choice.get("delta", {}).get("content") or ""


class Client:
    """Talks to a service as its users do, and to its replicas as an operator does."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.headers = service.config.authorization()
        self.http = httpx.Client(trust_env=False, timeout=120.0, headers=self.headers)

    def chat(self, prompt: str = "Hello", **more: Any) -> Answer:
        messages = [{"role": "user", "content": prompt}]
        return self.ask("chat/completions", messages=messages, **more)

    def complete(self, prompt: str = "Hello", **more: Any) -> Answer:
        return self.ask("completions", prompt=prompt, **more)

    def ask(self, path: str, **request: Any) -> Answer:
        with self.open(path, **request) as response:
            if response.headers["content-type"].startswith("text/event-stream"):
                return _read_stream(response)
            return Answer(response.status_code, response.read(), (), ())

    def open(self, path: str, *, request_id: str | None = None, **request: Any) -> Any:
        # Python's JSON, which knows NaN, as a careless client's does.
        body = json.dumps({"model": self.service.model, **request})
        return self.http.stream(
            "POST",
            f"{self.service.base_url}/{path}",
            content=body,
            headers={"content-type": "application/json"}
            | ({"x-request-id": request_id} if request_id else {}),
        )

    def all_at_once(self, asks: list[Callable[[], Answer]]) -> list[Answer]:
        with ThreadPoolExecutor(len(asks)) as pool:
            return [asked.result() for asked in [pool.submit(ask) for ask in asks]]

    def reports(self) -> dict[str, EngineReport]:
        """Each replica's report; all have one, since a service starts warm."""
        reports = {k: v for k, v in self.service.reports().items() if v is not None}
        assert len(reports) == self.service.config.args.replicas
        return reports

    def settled(self) -> dict[str, EngineReport]:
        """The reports once every engine is idle."""
        return self.until(lambda rs: all(_is_settled(r) for r in rs.values()))

    def until(
        self, condition: Callable[[dict[str, EngineReport]], bool]
    ) -> dict[str, EngineReport]:
        deadline_s = time.monotonic() + SETTLE_S
        while not condition(reports := self.reports()):
            assert time.monotonic() < deadline_s, reports
            time.sleep(0.1)
        return reports

    def total(self, field: str) -> int:
        return sum(getattr(report, field) for report in self.settled().values())


def _is_settled(report: EngineReport) -> bool:
    nobody = report.is_idle and report.accepted_total == report.finished_total
    return nobody and report.kv_blocks_used == 0 and report.demand_tokens == 0


def _read_stream(response: httpx.Response) -> Answer:
    chunks, times = [], []
    done = False
    for line in response.iter_lines():
        if line == "data: [DONE]":
            done = True
        elif line and not line.startswith(":"):
            chunks.append(json.loads(line.removeprefix("data: ")))
            times.append(time.monotonic())
    assert done
    return Answer(response.status_code, b"", tuple(chunks), tuple(times))


def client_of(name: str) -> Any:
    """The fixture of that name: a client of that service, which is idle afterwards."""

    @pytest.fixture(name=name)
    def fixture(slot: Slot) -> Iterator[Client]:
        client = Client(slot.take(name))
        with client.http:
            yield client
            # Blocks free, streams forgotten, and no step that Andes could not plan.
            assert all(r.plan_failures_total == 0 for r in client.settled().values())

    return fixture


direct, handle, pair, keyed = map(client_of, ("direct", "handle", "pair", "keyed"))
long, soaked, scaling = map(client_of, ("long", "soaked", "scaling"))
