"""A Serve config file as the launcher reads it: one application, and it is ours."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from deployments.access.keys import load_keys
from deployments.config import AppArgs
from deployments.config_errors import YAML_ERRORS, ConfigError
from deployments.tiny_model import PROJECT_ROOT
from qoe.expectation import shown

DEFAULT_CONFIG = PROJECT_ROOT / "serve_config.yaml"
IMPORT_PATH = "deployments.app:build_app"
DEFAULT_PORT, MAX_PORT = 8000, 65535
LOOPBACK, EVERY_INTERFACE = "127.0.0.1", "0.0.0.0"
# HAProxy asks the replicas of its own machine at 127.0.0.1, and they listen at this host.
DIRECT_HOSTS = (LOOPBACK, EVERY_INTERFACE, "::")
_DIRECT_HOST = (
    f"{LOOPBACK}, for this machine only, or {EVERY_INTERFACE}, for every interface, with "
    "streaming: direct"
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """What is to be served, and where.

    Attributes:
        serve: The whole file, as Serve takes it.
        app: Name of the application.
        args: Its checked arguments.
        port: HTTP port.
        route_prefix: Path of the application, without a slash at its end.
    """

    serve: dict[str, Any]
    app: str
    args: AppArgs
    port: int
    route_prefix: str

    @property
    def host(self) -> str:
        """Interface of the HTTP port; Serve's own default where the file says nothing."""
        return str(self.serve["http_options"].get("host", EVERY_INTERFACE))

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the HTTP port."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def base_url(self) -> str:
        host = LOOPBACK if self.host in (EVERY_INTERFACE, "::") else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}{self.route_prefix}/v1"

    def authorization(self) -> dict[str, str]:
        """The header that the service asks for; none where it asks for no key.

        Raises:
            ConfigError: Its keys are missing, or bad.
        """
        keys = load_keys(self.args.api_keys_file, self.args.caps.caps())
        if not keys:
            return {}
        return {"Authorization": f"Bearer {keys[0].key.get_secret_value()}"}


def load_config(
    path: Path = DEFAULT_CONFIG,
    overrides: Mapping[str, Any] | None = None,
    port: int | None = None,
    host: str | None = None,
) -> ServiceConfig:
    """The config file at `path`, changed.

    Args:
        path: A Serve config with one application, built by `deployments.app:build_app`.
        overrides: Merged into the application's `args`, mappings key by key; None takes
            a key away.
        port: Replaces the file's HTTP port.
        host: Replaces the file's host.

    Raises:
        ConfigError: No such file, not such a config, or bad arguments; the message says
            which.
    """
    serve = _read(path)
    application = _only_application(path, serve)
    args = _known(path, "args", application.get("args") or {}, dict, "keys and values")
    application["args"] = merged(args, overrides or {})
    http = serve["http_options"] = serve.get("http_options") or {}
    http = _known(path, "http_options", http, dict, "keys and values")
    http["port"] = port or http.get("port", DEFAULT_PORT)
    if host is not None:
        http["host"] = host
    _known(path, "http_options.host", http.get("host", EVERY_INTERFACE), str, "an address")
    name = _known(path, "name", application.get("name", "default"), str, "a text")
    prefix = application.get("route_prefix", "/")
    if not (isinstance(prefix, str) and prefix.startswith("/")):
        raise _bad(path, "route_prefix", prefix, "a path that begins with /")
    if type(http["port"]) is not int or not 1 <= http["port"] <= MAX_PORT:
        raise _bad(path, "http_options.port", http["port"], f"from 1 to {MAX_PORT}")
    parsed = AppArgs.parse(application["args"])
    if parsed.streaming == "direct" and http.get("host", LOOPBACK) not in DIRECT_HOSTS:
        raise _bad(path, "http_options.host", http["host"], _DIRECT_HOST)
    return ServiceConfig(
        serve=serve,
        app=name,
        args=parsed,
        port=http["port"],
        route_prefix=prefix.rstrip("/"),
    )


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `overrides` over it, mappings key by key; None takes a key away."""
    result = deepcopy(dict(base))
    for key, value in overrides.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = deepcopy(value)
    return result


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"{path} cannot be read: {reason}") from None
    except YAML_ERRORS as error:
        raise ConfigError(f"{path} is not YAML: {_reason(error)}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is not a Serve config: it has no keys")
    return content


def _reason(error: Exception) -> str:
    """Where and why YAML ends; not the line itself, which may have a token in it."""
    mark = getattr(error, "problem_mark", None)
    where = "" if mark is None else f"row {mark.line + 1}: "
    return where + shown(getattr(error, "problem", None) or type(error).__name__)


def _known(path: Path, key: str, value: Any, kind: type[T], expected: str) -> T:
    if isinstance(value, kind):
        return value
    raise _bad(path, key, value, expected)


def _bad(path: Path, key: str, value: Any, expected: str) -> ConfigError:
    return ConfigError(f"{path}: {key}={shown(value)} is invalid: it must be {expected}")


def _only_application(path: Path, serve: dict[str, Any]) -> dict[str, Any]:
    applications = serve.get("applications")
    if isinstance(applications, list) and len(applications) == 1:
        application: Any = applications[0]
        if isinstance(application, dict) and application.get("import_path") == IMPORT_PATH:
            return application
    raise ConfigError(
        f"{path}: `applications` must be one application with import_path: {IMPORT_PATH}"
    )
