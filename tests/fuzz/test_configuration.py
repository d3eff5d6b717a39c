"""What an operator writes is taken, or refused with lines that say why and no secret."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deployments.access.keys import KEYS_ENV, Keyring, load_keys
from deployments.config import AppArgs
from deployments.config_errors import ConfigError
from deployments.service_config import load_config
from qoe import Caps
from router.settings import RouterSettings
from scheduler.settings import SchedulerSettings

ARGS: dict[str, Any] = {
    "model": {"id": "tiny", "source": ".run/tiny"},
    "accelerator": "cpu",
    "replicas": 2,
    "autoscaling": {"min_replicas": 1, "max_replicas": 3, "down_after_s": 60},
    "num_cpus": 0.5,
    "scheduler": "andes",
    "andes": {"max_throughput_loss": 0.4, "report_period_s": 0.1},
    "router": "qoe",
    "router_settings": {"min_value": 0.3, "routers": 2, "seed": 1, "policy": "qoe"},
    "default_profile": {"ttft_s": 1.0, "tds": 4.8},
    "default_patience_s": 20,
    "caps": {"max_weight": 2, "max_tds": 100, "min_ttft_s": 0.5},
    "keep_alive_interval_s": 3,
    "max_continuations": 3,
    "resume_timeout_s": 5,
    "engine_timeout_s": 30,
    "engine_kwargs": {"max_num_seqs": 4},
    "engine_env": {"A": "b"},
}
FILE: dict[str, Any] = {
    "proxy_location": "EveryNode",
    "http_options": {"host": "127.0.0.1", "port": 8000},
    "applications": [
        {
            "name": "llm",
            "route_prefix": "/",
            "import_path": "deployments.app:build_app",
            "args": {"model": {"id": "tiny", "source": ".run/tiny"}},
        }
    ],
}
# What YAML has and JSON has not; all of these can fail in ways of their own.
TAGGED = [
    "2001-99-99",
    "!!int x",
    "!!float x",
    "!!bool x",
    "!!timestamp x",
    "!!binary é",
    "!!python/object:os.system x",
    "&a [*a]",
    "{? [1] : 2}",
    "[" * 2000,
    "0x" + "f" * 5000,
    "\x00",
    "%YAML 9",
    "- - -\n -",
]


def numbers(settings: Any) -> list[float]:
    """All floats of a model's fields."""
    found = settings.model_dump().values() if hasattr(settings, "model_dump") else ()
    return [value for value in found if isinstance(value, float)]


@given(st.data())
def test_arguments_are_usable_or_refused_a_line_a_mistake(
    fuzz: Any, sentence: Callable[[object], str], data: st.DataObject
) -> None:
    given_args = data.draw(fuzz.changed(ARGS))
    try:
        args = AppArgs.parse(given_args if isinstance(given_args, dict) else {})
    except ConfigError as error:
        for line in str(error).splitlines():
            assert sentence(line).startswith("args")
        return
    assert isinstance(args.scheduler_settings, SchedulerSettings)
    RouterSettings.from_kwargs(args.router_kwargs)
    args.caps.caps()
    for part in (args, args.andes, args.caps, args.autoscaling):
        assert all(map(math.isfinite, numbers(part)))


@given(st.data())
def test_a_file_is_a_service_or_refused(
    fuzz: Any,
    sentence: Callable[[object], str],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.getbasetemp() / "serve.yaml"
    text = yaml.safe_dump(FILE).encode()
    content = data.draw(
        fuzz.garbled(text)
        | fuzz.changed(FILE).map(lambda file: json.dumps(file).encode())
        | st.sampled_from(TAGGED).map(lambda tag: text.replace(b"tiny", tag.encode(), 1))
    )
    path.write_bytes(content)
    try:
        service = load_config(path)
    except ConfigError as error:
        for line in str(error).splitlines():
            sentence(line)
        return
    assert 1 <= service.port < 65536
    assert service.base_url.startswith("http://")
    assert service.route_prefix == "" or service.route_prefix.startswith("/")
    assert isinstance(service.app, str)
    assert service.is_local in (True, False)


@given(st.data())
def test_keys_open_a_service_or_are_refused_without_being_shown(
    fuzz: Any,
    secret: str,
    sentence: Callable[[object], str],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
) -> None:
    key = f"{secret}-of-one-key"
    entries = [
        {"name": "app", "key": key, "max_weight": 3, "max_requests_per_s": 2.5},
        {"name": "voice", "key": f"{key}-2", "default_profile": "listening", "share": 2},
    ]
    text = yaml.safe_dump(entries).encode()
    content = data.draw(
        fuzz.garbled(text)
        | fuzz.changed(entries).map(lambda given: json.dumps(given).encode())
        | st.sampled_from(TAGGED).map(lambda tag: text.replace(b"app", tag.encode(), 1))
        | st.sampled_from([[{key: 1}], {key: 1}, [key], [[key]], [{"name": key}]]).map(
            lambda given: json.dumps(given).encode()
        )
    )
    path = tmp_path_factory.getbasetemp() / "keys.yaml"
    path.write_bytes(content)
    try:
        keys = load_keys(str(path), Caps(), {})
    except ConfigError as error:
        keys = []
        assert secret not in sentence(error)  # noqa: PT017 - most keys are good
    ring = Keyring.of(keys, Caps())
    for one in keys:
        assert secret not in repr(one)
        entry = ring.find(one.key.get_secret_value())
        assert entry is not None
        assert entry.max_requests_per_s is None or math.isfinite(entry.max_requests_per_s)


@given(st.data())
def test_a_key_of_the_environment_is_one_or_refused_without_being_shown(
    fuzz: Any, secret: str, sentence: Callable[[object], str], data: st.DataObject
) -> None:
    text = data.draw(fuzz.garbled(f"{secret}-of-the-environment".encode()))
    try:
        load_keys(None, Caps(), {KEYS_ENV: text.decode(errors="surrogateescape")})
    except ConfigError as error:
        assert secret not in sentence(error)  # noqa: PT017 - most keys are good
