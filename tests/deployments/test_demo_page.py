"""The page's files and its fleet endpoint, on a plain ASGI app."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from deployments.demo_page import (
    FRESH_S,
    PACER_DIR,
    PAGE_DIR,
    FleetReports,
    fleet_view,
    mount_demo_page,
)

REPORT = {
    "accepting": True,
    "block_size_tokens": 16,
    "kv_blocks_used": 3,
    "kv_blocks_total": 10,
    "running": 4,
    "waiting": 5,
    "preempted": 2,
    "qoe_mean": 0.9,
    "streams_below_target": 1,
    "tokens_total": 77,
}


class Replicas:
    """A Serve handle, as far as it is used here."""

    def __init__(self, *rounds: Any) -> None:
        self.rounds = list(rounds)
        self.asked = 0

    def broadcast(self, method: str) -> Replicas:
        assert method == "engine_report"
        self.asked += 1
        return self

    async def results_async(self, *, timeout_s: float, return_exceptions: bool) -> Any:
        assert return_exceptions
        answer = self.rounds.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def app_with(replicas: Replicas, now_s: Any = None, **folders: Path) -> httpx.AsyncClient:
    app = Starlette(routes=[Route("/v1/models", lambda _: PlainTextResponse("models"))])
    clock = {} if now_s is None else {"now_s": now_s}
    mount_demo_page(app, FleetReports(lambda: replicas, **clock), **folders)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page")


def test_streams_are_counted_once_and_memory_is_in_tokens() -> None:
    seen = fleet_view([{"replica_id": "b", "report": REPORT}])
    assert seen == {
        "silent": 0,
        "replicas": [
            {
                "id": "b",
                "accepting": True,
                "kv_used_tokens": 48,
                "kv_total_tokens": 160,
                "running": 4,
                "waiting": 3,
                "preempted": 2,
                "qoe_mean": 0.9,
                "below_target": 1,
                "tokens_total": 77,
            }
        ],
    }


def test_a_replica_that_fails_or_has_no_report_hides_no_other() -> None:
    seen = fleet_view(
        [
            {"replica_id": "b", "report": None},
            RuntimeError("died"),
            {"replica_id": "a", "report": REPORT},
        ]
    )
    assert seen["silent"] == 1
    assert [replica["id"] for replica in seen["replicas"]] == ["a", "b"]
    assert seen["replicas"][1]["kv_total_tokens"] == 0


async def test_the_page_and_its_modules_are_there() -> None:
    async with app_with(Replicas()) as client:
        moved = await client.get("/demo")
        assert (moved.status_code, moved.headers["location"]) == (307, "demo/")
        page = await client.get("/demo/")
        assert page.headers["content-type"].startswith("text/html")
        pacer = await client.get("/demo/pacer/index.js")
        assert "javascript" in pacer.headers["content-type"]
        assert (await client.get("/demo/../pyproject.toml")).status_code == 404
        assert (
            await client.get("/demo/js/..%2f..%2f..%2fpyproject.toml")
        ).status_code == 404
        assert (await client.get("/v1/models")).text == "models"


async def test_however_many_look_replicas_are_asked_once_in_a_while() -> None:
    now_s = 0.0
    answer = [{"replica_id": "a", "report": REPORT}]
    replicas = Replicas(answer, answer)
    async with app_with(replicas, lambda: now_s) as client:
        for _ in range(5):
            assert len((await client.get("/demo/fleet")).json()["replicas"]) == 1
        assert replicas.asked == 1
        now_s += FRESH_S
        await client.get("/demo/fleet")
        assert replicas.asked == 2


@pytest.mark.parametrize("error", [TimeoutError(), RuntimeError("unavailable")])
async def test_a_fleet_that_cannot_be_asked_is_said_and_asked_again(
    error: Exception,
) -> None:
    replicas = Replicas(error, [{"replica_id": "a", "report": REPORT}])
    async with app_with(replicas) as client:
        failed = await client.get("/demo/fleet")
        assert failed.status_code == 503
        assert failed.json() == {"error": "no replica could be asked"}
        assert (await client.get("/demo/fleet")).status_code == 200


async def test_without_its_files_a_service_has_no_page(tmp_path: Path) -> None:
    async with app_with(Replicas(), page_dir=tmp_path / "none") as client:
        assert (await client.get("/demo/")).status_code == 404
        assert (await client.get("/v1/models")).text == "models"


@pytest.mark.parametrize("path", ["/demo/", "/demo/js/main.js", "/demo/fleet", "/demo/no"])
async def test_a_browser_is_told_to_run_nothing_but_the_pages_own_files(path: str) -> None:
    async with app_with(Replicas([])) as client:
        policy = (await client.get(path)).headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in policy


@pytest.mark.parametrize("folder", [PAGE_DIR, PACER_DIR], ids=["page", "pacer"])
def test_what_a_model_writes_is_shown_as_text(folder: Path) -> None:
    takes_markup = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment"
        r"|\beval\(|new Function|srcdoc|setAttribute\(.on"
    )
    for script in folder.rglob("*.js"):
        assert not takes_markup.search(script.read_text()), script.name
