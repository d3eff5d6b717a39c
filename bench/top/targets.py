"""Where the metrics pages of the service on this machine are."""

from __future__ import annotations

import ray

from bench.errors import UserError
from deployments import cluster
from deployments.observe import metrics_targets
from deployments.processes import ServiceError
from deployments.running import recall
from deployments.service import RAY_TOKEN_PATH, RUN_DIR


def find_pages() -> list[str]:
    """URL of the page of each node of the service that runs here.

    Raises:
        UserError: None does, or its Ray does not answer.
    """
    running = recall(RUN_DIR)
    if running is None:
        raise UserError(
            "no service is running here: `make run` starts one, or name a page with --url.",
            exit_code=1,
        )
    try:
        cluster.authenticate(RAY_TOKEN_PATH if running.own_ray else None)
        cluster.connect(running.ray_address)
        nodes = ray.nodes()
    except ServiceError as error:
        raise UserError(str(error), exit_code=1) from error
    finally:
        # Only the addresses were wanted: a client that stays is one more to look after.
        ray.shutdown()
    return [f"http://{target}/metrics" for target in metrics_targets(nodes)]
