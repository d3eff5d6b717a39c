"""API keys, from a file or the environment, and whose request has which.

A key is read where it is checked, and goes nowhere else: not into Ray, not into a log.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    SecretStr,
    ValidationError,
    field_validator,
)

from deployments.access.caller import Caller
from deployments.access.caps import CapArgs
from deployments.config_errors import YAML_ERRORS, ConfigError
from deployments.tiny_model import PROJECT_ROOT
from qoe import PROFILES, Caps
from qoe.expectation import named
from qoe.tenant import SHARE_RANGE

KEYS_ENV = "ANDES_API_KEYS"
# vLLM's own server reads it too, and asks for it on its paths.
VLLM_KEY_ENV = "VLLM_API_KEY"
MIN_KEY_CHARS = 16


class ApiKey(BaseModel):
    """One key, and what whoever has it may do. What is left out is as the deployment's."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    key: SecretStr
    default_profile: str | None = None
    max_weight: float | None = None
    max_tds: float | None = None
    min_ttft_s: float | None = None
    max_requests_per_s: PositiveFloat | None = None
    share: float = Field(default=1.0, ge=SHARE_RANGE[0], le=SHARE_RANGE[1])

    @field_validator("key")
    @classmethod
    def _is_hard_to_guess(cls, given: SecretStr) -> SecretStr:
        text = given.get_secret_value()
        if len(text) < MIN_KEY_CHARS or not text.isascii() or any(c <= " " for c in text):
            raise ValueError(
                f"it must be {MIN_KEY_CHARS} or more ASCII characters without a space"
            )
        return given

    @field_validator("default_profile")
    @classmethod
    def _is_a_profile(cls, given: str | None) -> str | None:
        if given is not None and given not in PROFILES:
            raise ValueError(f"it must be one of {', '.join(PROFILES)}")
        return given

    def caller(self, deployment: Caps) -> Caller:
        """Whoever has this key, under the deployment's caps where it has none.

        Raises:
            ExpectationError: A cap is out of the range of its field.
        """
        own = self.model_dump(include=set(CapArgs.model_fields), exclude_none=True)
        if own:
            deployment = replace(deployment, **own, where=f"api_keys[{self.name}]")
        return Caller(self.name, deployment, self.default_profile, self.share)


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as it is looked up."""

    digest: bytes
    caller: Caller
    max_requests_per_s: float | None


class Keyring:
    """Finds the key of a request in a time that says nothing about the keys."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)

    @classmethod
    def of(cls, keys: Sequence[ApiKey], caps: Caps) -> Self:
        return cls(
            Entry(
                _digest(key.key.get_secret_value()),
                key.caller(caps),
                key.max_requests_per_s,
            )
            for key in keys
        )

    def find(self, token: str) -> Entry | None:
        """The entry with this key; all are compared, whichever it is."""
        digest, found = _digest(token), None
        for entry in self.entries:
            if hmac.compare_digest(digest, entry.digest):
                found = entry
        return found


def load_keys(
    path: str | None, caps: Caps, environ: Mapping[str, str] = os.environ
) -> list[ApiKey]:
    """The API keys of a deployment; none where it asks for none.

    Args:
        path: Of a file with a list of keys, or with one; a relative path starts at the
            project root.
        caps: Of the deployment.
        environ: Where `ANDES_API_KEYS` has what such a file has.

    Raises:
        ConfigError: No such file, bad keys, or keys from two places.
    """
    sources = {
        f"args.api_keys_file={path!r}": path,
        KEYS_ENV: environ.get(KEYS_ENV),
        VLLM_KEY_ENV: environ.get(VLLM_KEY_ENV),
    }
    given = [source for source, value in sources.items() if value]
    if len(given) > 1:
        raise ConfigError(f"API keys come from one place, not from {' and '.join(given)}")
    if not given:
        return []
    (source,) = given
    text = _text(path) if path else str(sources[source])
    keys = [_key(source, at, item, caps) for at, item in enumerate(_items(source, text))]
    _require_distinct(source, keys)
    return keys


def _text(path: str) -> str:
    try:
        return (PROJECT_ROOT / path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"args.api_keys_file={path!r} cannot be read: {reason}") from None


def _items(source: str, text: str) -> list[Any]:
    word = text.strip()
    # One bare key; not YAML's to take for a number.
    if word and not any(c in word for c in " \n[]{}"):
        return [{"name": "default", "key": word}]
    try:
        items = yaml.safe_load(text)
    except YAML_ERRORS:
        # Their own messages quote the line, and so the key.
        items = None
    if not isinstance(items, list) or not items:
        raise ConfigError(
            f"{source} must be one key, or a YAML list of keys with name and key"
        )
    return items


def _key(source: str, at: int, item: Any, caps: Caps) -> ApiKey:
    try:
        key = ApiKey.model_validate(item)
        key.caller(caps)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(_field, first["loc"])) or "it"
        reason = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{source}, key {at + 1}: {where}: {reason}") from None
    except ValueError as error:
        raise ConfigError(f"{source}, key {at + 1}: {error}") from None
    return key


def _field(name: int | str) -> str:
    """The name of a field; what is as long as a key may be one, in the wrong place."""
    text = named(str(name))
    return text if len(text) < MIN_KEY_CHARS or name in ApiKey.model_fields else "a field"


def _require_distinct(source: str, keys: Sequence[ApiKey]) -> None:
    for what in ("name", "key"):
        values = [getattr(key, what) for key in keys]
        twice = next((i for i, v in enumerate(values) if v in values[:i]), None)
        if twice is not None:
            raise ConfigError(f"{source}, key {twice + 1}: another key has its {what}")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
