"""What is written down about a running service, for whoever has to stop it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from deployments.cluster import OwnRay
from deployments.processes import ProcessRef

RECORD_NAME: Final = "service.json"


class Running(BaseModel):
    """A service that was started on this machine.

    Attributes:
        launcher: The process that started it, and means to stop it.
        ray_address: The Ray cluster it runs on.
        own_ray: That cluster, if it was started for the service.
        haproxy_mark: Folder of its HAProxy, which is in the command line of nobody else's.
        replica_mark: Part of the command line of its replicas and of nobody else's.
        ports: What it listens on.
    """

    model_config = ConfigDict(frozen=True)

    launcher: ProcessRef
    ray_address: str
    own_ray: OwnRay | None
    haproxy_mark: str
    replica_mark: str
    ports: tuple[int, ...]


def record(running: Running, run_dir: Path) -> None:
    (run_dir / RECORD_NAME).write_text(running.model_dump_json(), encoding="utf-8")


def recall(run_dir: Path) -> Running | None:
    """The recorded service; None if none is, or if the record is of another version."""
    try:
        return Running.model_validate_json((run_dir / RECORD_NAME).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def forget(run_dir: Path) -> None:
    (run_dir / RECORD_NAME).unlink(missing_ok=True)
