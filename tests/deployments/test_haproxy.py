"""Serve's own HAProxy, in our environment, keeps an old stream when it is started anew."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.environment import SERVING_ENV, STREAMING_ENV
from deployments.processes import free_port

# By default Serve has the old process cut its streams after 120 s.
LASTS_S = 135


async def stream_over_a_reload(folder: str, lasts_s: int) -> str:
    """The end of a stream that an old process of HAProxy goes on with."""
    from ray.serve._private.haproxy import (  # noqa: PLC0415 - reads the environment
        BackendConfig,
        HAProxyApi,
        HAProxyConfig,
        ServerConfig,
    )
    from ray.serve.config import HTTPOptions  # noqa: PLC0415

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for second in range(lasts_s):
            writer.write(f"data: {second}\n\n".encode())
            await writer.drain()
            await asyncio.sleep(1.0)
        writer.write(b"data: [DONE]\n\n")
        writer.close()

    front, back = free_port(), free_port()
    server = await asyncio.start_server(answer, "127.0.0.1", back)
    config = HAProxyConfig(
        socket_path=f"{folder}/admin.sock",
        server_state_base=folder,
        server_state_file=f"{folder}/server-state",
        metrics_socket_path=f"{folder}/metrics.sock",
        metrics_port=free_port(),
        stats_port=free_port(),
        http_options=HTTPOptions(host="127.0.0.1", port=front),
        has_received_routes=True,
    )
    backend = BackendConfig(
        name="http-andes",
        path_prefix="/",
        servers=[ServerConfig("replica", "127.0.0.1", back)],
        app_name="andes",
    )
    haproxy = HAProxyApi(config, {backend.name: backend}, f"{folder}/haproxy.cfg")
    await haproxy.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
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


@pytest.mark.nightly
def test_a_stream_older_than_serve_allows_outlives_a_reload(tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if "HAPROXY" not in name}
    done = subprocess.run(
        [sys.executable, __file__, str(tmp_path), str(LASTS_S)],
        env={**own, **STREAMING_ENV, **SERVING_ENV},
        capture_output=True,
        text=True,
        timeout=2 * LASTS_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "data: [DONE]" in done.stdout


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(stream_over_a_reload(sys.argv[1], int(sys.argv[2]))))
