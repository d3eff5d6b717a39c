"""Policies from elsewhere, named in the settings as `package.module:Class`."""

from __future__ import annotations

import inspect
import pkgutil
from typing import Any


def imported_policy(name: object) -> type[Any]:
    """The class behind an import string, checked to be a `Policy` made from settings.

    Raises:
        ValueError: It is no such class; the message says why.
    """
    if not isinstance(name, str) or name.count(":") != 1:
        raise ValueError("this names no class")
    try:
        found = pkgutil.resolve_name(name)
    except Exception as error:
        # A module may fail in any way when it is imported.
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not (inspect.isclass(found) and callable(getattr(found, "plan", None))):
        raise ValueError("this is no class with a method plan")
    try:
        inspect.signature(found).bind(None)
    except (TypeError, ValueError):
        raise ValueError("its constructor does not take the settings alone") from None
    return found
