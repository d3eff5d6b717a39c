"""A Ray of this machine alone is told from one that others reach, too."""

from __future__ import annotations

import socket

import pytest
from ray._private import services

from deployments.cluster import is_local_only

# Another address of this machine, as others would know it.
OTHER = "127.0.0.2"


@pytest.fixture(autouse=True)
def address_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "node_ip_address_from_perspective", lambda: OTHER)


@pytest.mark.parametrize(("host", "is_local"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_a_cluster_is_local_that_nobody_else_reaches(host: str, is_local: bool) -> None:
    with socket.create_server((host, 0)) as server:
        port = server.getsockname()[1]
        assert is_local_only(f"127.0.0.1:{port}") is is_local


def test_a_cluster_elsewhere_is_not_local() -> None:
    assert not is_local_only("10.1.2.3:6379")
