"""What is wrong with the `args` of a deployment, one line a mistake."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from qoe.expectation import named, shown

# Tags and dates fail as int(), datetime and dictionaries do.
YAML_ERRORS = (
    yaml.YAMLError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)

Path = tuple[int | str, ...]


class ConfigError(ValueError):
    """The configuration cannot be served; `str()` says why, one line a mistake."""


def lines_of(
    error: ValidationError,
    models: Mapping[Path, type[BaseModel]],
    hidden: Collection[str],
) -> str:
    """The key, the value and what is allowed, of each mistake.

    Args:
        error: Of the model at the root.
        models: Those below it, by where they are.
        hidden: Fields of the models below that other keys say.
    """
    found = (dict(e) for e in error.errors(include_url=False))
    return "\n".join(_line(e, models, hidden) for e in found)


def _line(
    error: Mapping[str, Any],
    models: Mapping[Path, type[BaseModel]],
    hidden: Collection[str],
) -> str:
    key = ".".join(("args", *(named(str(part)) for part in error["loc"])))
    given = shown(error["input"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        where = error["loc"][:-1]
        names = set(models[where].model_fields) - (set(hidden) if where else set())
        return f"{key}={given} is unknown: there are {', '.join(sorted(names))}"
    if error["type"] == "missing":
        return f"{key} is missing: it is required"
    if error["type"] == "value_error":
        return f"{key}: {message}"
    allowed = message.replace("Input should be", "it must be")
    return f"{key}={given} is invalid: {allowed}"
