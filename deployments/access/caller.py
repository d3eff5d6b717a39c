"""Who sends a request, as the layers below the key know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qoe import Caps

SCOPE_KEY = "andes.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sends a request.

    Attributes:
        name: Of the API key; None where none is asked for.
        caps: The most that it may ask for.
        profile: Of its readers, where a request says nothing; None for the deployment's.
        share: Of an engine that other keys want too, beside a key with 1.
    """

    name: str | None
    caps: Caps
    profile: str | None = None
    share: float = 1.0


def caller_of(scope: Mapping[str, Any]) -> Caller:
    """Who sends the request of an ASGI `scope`.

    Raises:
        KeyError: No `AccessMiddleware` stands before this app.
    """
    caller: Caller = scope[SCOPE_KEY]
    return caller


def path_of(scope: Mapping[str, Any]) -> str:
    """The path below the application's own prefix."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
