"""Where the gRPC server that Serve gives each replica listens.

Serve binds it to every interface, and asks others for it at the node's address alone.
"""

from __future__ import annotations

from typing import Any

from ray import util
from ray._common.network_utils import build_address
from ray._common.tls_utils import add_port_to_grpc_server
from ray.serve._private import replica


def listen_at_node_address() -> None:
    """Have the replica of this process open its port there; it must not be open yet."""
    replica.add_port_to_grpc_server = _at_node_address


def _at_node_address(server: Any, _: str) -> Any:
    return add_port_to_grpc_server(server, build_address(util.get_node_ip_address(), 0))
