"""Serve's own HAProxy as we have it called: old streams go on, counters are private."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from deployments.environment import SERVING_ENV, STREAMING_ENV
from deployments.processes import free_port

# By default Serve has the old process cut its streams after 120 s.
LASTS_S = 135


def haproxy_api(folder: str, host: str, back: int) -> Any:
    """Serve's HAProxy with one replica, which listens at the port `back`."""
    from ray.serve._private.haproxy import (  # noqa: PLC0415 - reads the environment
        BackendConfig,
        HAProxyApi,
        HAProxyConfig,
        ServerConfig,
    )
    from ray.serve.config import HTTPOptions  # noqa: PLC0415

    config = HAProxyConfig(
        socket_path=f"{folder}/admin.sock",
        server_state_base=folder,
        server_state_file=f"{folder}/server-state",
        metrics_socket_path=f"{folder}/metrics.sock",
        metrics_port=free_port(),
        stats_port=free_port(),
        http_options=HTTPOptions(host=host, port=free_port()),
        has_received_routes=True,
    )
    backend = BackendConfig(
        name="http-andes",
        path_prefix="/",
        servers=[ServerConfig("replica", "127.0.0.1", back)],
        app_name="andes",
    )
    return HAProxyApi(config, {backend.name: backend}, f"{folder}/haproxy.cfg")


async def stream_over_a_reload(folder: str, lasts_s: int) -> str:
    """The end of a stream that an old process of HAProxy goes on with."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for second in range(lasts_s):
            writer.write(f"data: {second}\n\n".encode())
            await writer.drain()
            await asyncio.sleep(1.0)
        writer.write(b"data: [DONE]\n\n")
        writer.close()

    back = free_port()
    server = await asyncio.start_server(answer, "127.0.0.1", back)
    haproxy = haproxy_api(folder, "127.0.0.1", back)
    await haproxy.start()
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", haproxy.cfg.frontend_port
        )
        writer.write(
            b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        )
        begun = await reader.readuntil(b"data: 0\n\n")
        assert b"200 OK" in begun
        await haproxy.reload()
        assert haproxy.has_alive_old_procs()
        return (await reader.read())[-20:].decode()
    finally:
        await haproxy.stop()
        server.close()


async def listening(folder: str, host: str) -> dict[str, list[str]]:
    """Where HAProxy listens, for requests and for who asks for its counters."""
    haproxy = haproxy_api(folder, host, free_port())
    await haproxy.start()
    try:
        # Twice, as when a replica comes: the configuration has been written anew.
        await haproxy.reload()
        connections = psutil.Process(haproxy._proc.pid).net_connections("tcp")
    finally:
        await haproxy.stop()
    at = {c.laddr.port: c.laddr.ip for c in connections if c.status == "LISTEN"}
    counters = sorted((haproxy.cfg.metrics_port, haproxy.cfg.stats_port))
    return {
        "requests": [at.pop(haproxy.cfg.frontend_port)],
        "counters": [at.pop(port) for port in counters],
        "others": list(at.values()),
    }


def told(environ: Mapping[str, str], *args: str) -> str:
    """What this file prints as a program, in which Serve reads `environ`."""
    own = {name: value for name, value in os.environ.items() if "HAPROXY" not in name}
    done = subprocess.run(
        [sys.executable, __file__, *args],
        env={**own, **STREAMING_ENV, **SERVING_ENV, **environ},
        capture_output=True,
        text=True,
        timeout=2 * LASTS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_counters_are_for_this_machine_whoever_may_send_requests(
    tmp_path: Path, host: str
) -> None:
    from deployments.service import local_counters  # noqa: PLC0415 - not for the program

    found = json.loads(told(local_counters(), "listening", str(tmp_path), host))
    assert found == {"requests": [host], "counters": ["127.0.0.1"] * 2, "others": []}


@pytest.mark.nightly
def test_a_stream_older_than_serve_allows_outlives_a_reload(tmp_path: Path) -> None:
    assert "data: [DONE]" in told({}, "stream", str(tmp_path), str(LASTS_S))


async def main(what: str, folder: str, argument: str) -> str:
    if what == "listening":
        return json.dumps(await listening(folder, argument))
    return await stream_over_a_reload(folder, int(argument))


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(main(*sys.argv[1:])))
