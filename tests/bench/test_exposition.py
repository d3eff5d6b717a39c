"""The progress of a load on a metrics page, as Prometheus reads it."""

import httpx
import pytest

from bench.client import Progress
from bench.errors import UserError
from bench.exposition import exposed
from deployments.processes import free_port


def test_a_page_shows_the_progress_for_the_time_of_the_run() -> None:
    port, seen = free_port(), []
    with exposed(port, seen.append) as told:
        for sent, finished, failed, tokens in [(5, 1, 0, 40), (9, 6, 2, 300)]:
            counts = {"finished": finished, "failed": failed, "refused": failed // 2}
            told(Progress(9, sent=sent, **counts, tokens=tokens))
        page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    assert len(seen) == 2
    for line in (
        'andes_bench_requests_total{outcome="sent"} 9.0',
        'andes_bench_requests_total{outcome="finished"} 3.0',
        'andes_bench_requests_total{outcome="failed"} 2.0',
        'andes_bench_requests_total{outcome="refused"} 1.0',
        "andes_bench_tokens_total 300.0",
    ):
        assert line in page
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)


def test_without_a_port_nothing_changes() -> None:
    with exposed(None, print) as told:
        assert told is print


def test_a_port_in_use_is_said_in_one_sentence() -> None:
    port = free_port()
    with (
        exposed(port, None),
        pytest.raises(UserError, match=f"--metrics-port {port}: Address already in use"),
        exposed(port, None),
    ):
        pass
