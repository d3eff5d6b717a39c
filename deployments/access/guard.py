"""Puts the checks of a request before an app, in the one order that is safe."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from deployments.access.body_limit import BodyLimitMiddleware
from deployments.access.caller import ShareBy
from deployments.access.caps import CapArgs
from deployments.access.keys import Keyring, load_keys
from deployments.access.middleware import AccessMiddleware
from deployments.config import AppArgs
from deployments.middleware import QoEFieldsMiddleware
from qoe import Expectation

logger = logging.getLogger(__name__)

# With them whoever sends prompts could have vLLM start or end engines. Serve scales.
OPERATORS_PATHS = ("/scale_elastic_ep", "/is_scaling_elastic_ep")


class AccessSettings(BaseModel):
    """What a process that answers HTTP must know; no key is in it."""

    model_config = ConfigDict(frozen=True)

    caps: CapArgs = CapArgs()
    api_keys_file: str | None = None
    share_by: ShareBy = "key"

    @classmethod
    def of(cls, args: AppArgs) -> Self:
        return cls(caps=args.caps, api_keys_file=args.api_keys_file, share_by=args.share_by)


def guard(
    app: Any,
    settings: AccessSettings,
    default: Expectation,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Have `app` ask for a key first, and then look at how much is sent and the QoE fields.

    Args:
        app: A Starlette app; what is added to it later comes before the key.
        settings: Of the deployment.
        default: What the deployment expects for requests that say nothing.
        environ: Where keys may be.

    Raises:
        ConfigError: The keys are not there, or bad.
    """
    caps = settings.caps.caps()
    keys = load_keys(settings.api_keys_file, caps, environ)
    if not keys:
        logger.warning("There is no API key: whoever reaches this service may use it.")
    app.router.routes[:] = [
        route
        for route in app.router.routes
        if getattr(route, "path", None) not in OPERATORS_PATHS
    ]
    app.add_middleware(QoEFieldsMiddleware, default=default, share_by=settings.share_by)
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(
        AccessMiddleware, caps=caps, keyring=Keyring.of(keys, caps) if keys else None
    )
