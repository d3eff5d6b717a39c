"""Where the model is: a name on the hub, or a directory that must be there."""

from __future__ import annotations

from pathlib import Path

from deployments.config_errors import ConfigError
from deployments.tiny_model import PROJECT_ROOT, TINY_MODEL_DIR, ensure_tiny_model


def resolve_source(source: str) -> str:
    """`source` as vLLM takes it; the tiny model is made if it is meant and missing.

    A path is what looks like one (`/...`, `./...`, `.run/...`, `~/...`) or is there;
    a relative path starts at the project root, from wherever the service is started.

    Raises:
        ConfigError: A directory without a model in it.
    """
    path = (PROJECT_ROOT / Path(source).expanduser()).resolve()
    if not (source.startswith(("/", ".", "~")) or path.exists()):
        return source
    if path == TINY_MODEL_DIR:
        ensure_tiny_model(path)
    if not (path / "config.json").is_file():
        raise ConfigError(
            f"args.model.source={source!r} is invalid: there is no model in {path}"
        )
    return str(path)


def is_local(source: str) -> bool:
    """Whether a resolved source is a directory of this machine."""
    return source.startswith("/")
