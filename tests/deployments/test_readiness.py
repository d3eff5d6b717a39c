"""A start that fails says why, without Serve's traceback where the config is at fault."""

from __future__ import annotations

import traceback

from ray.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
    ReplicaState,
)

from deployments.config_errors import ConfigError
from deployments.processes import ServiceError
from deployments.readiness import failure_of, progress_of

TRACEBACK = (
    "Deploying app 'andes' failed with exception:\nTraceback (most recent call last):\n"
)


def overview(
    message: str, replicas: dict[ReplicaState, int] | None = None, why: str = ""
) -> ApplicationStatusOverview:
    deployment = DeploymentStatusOverview(
        status=DeploymentStatus.UPDATING,
        status_trigger=DeploymentStatusTrigger.CONFIG_UPDATE_STARTED,
        replica_states=replicas or {},
        message=why,
    )
    return ApplicationStatusOverview(
        status=ApplicationStatus.DEPLOY_FAILED,
        message=message,
        last_deployed_time_s=0.0,
        deployments={"AndesServer:tiny": deployment} if replicas or why else {},
    )


def test_a_refused_configuration_is_said_in_its_own_words() -> None:
    said = "args.router='best' is invalid: it must be 'qoe'\nargs.replica=2 is unknown"
    raised = traceback.format_exception_only(ConfigError(said))
    error = failure_of(overview(TRACEBACK + "".join(raised)))
    assert isinstance(error, ConfigError)
    assert str(error) == said


def test_any_other_failure_ends_with_its_last_lines_and_the_place_of_the_logs() -> None:
    error = failure_of(overview(TRACEBACK, why="RuntimeError: no memory left"))
    assert isinstance(error, ServiceError)
    assert "logs/serve" in str(error).splitlines()[0]
    assert str(error).splitlines()[-1] == "RuntimeError: no memory left"


def test_progress_counts_the_replicas_that_run() -> None:
    replicas = {ReplicaState.RUNNING: 1, ReplicaState.STARTING: 1}
    assert progress_of(overview("", replicas)) == "starting AndesServer:tiny 1/2"
    assert progress_of(overview("")) == "building the application"
