"""The launcher serves a config file of ours, changed as asked, and refuses any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.config_errors import ConfigError
from deployments.service_config import DEFAULT_CONFIG, load_config, merged

OURS = "applications: [{import_path: deployments.app:build_app}]"


def test_the_shipped_config_serves_two_tiny_replicas_with_everything_on() -> None:
    config = load_config()
    assert (config.port, config.base_url) == (8000, "http://127.0.0.1:8000/v1")
    assert config.args.replicas == 2
    assert (config.args.scheduler, config.args.router) == ("andes", "qoe")
    assert config.args.streaming == "direct"


def test_overrides_change_the_args_that_serve_gets() -> None:
    config = load_config(
        overrides={"scheduler": "fcfs", "engine_kwargs": {"max_num_seqs": 8}}, port=9000
    )
    (application,) = config.serve["applications"]
    assert config.args.scheduler == application["args"]["scheduler"] == "fcfs"
    assert config.args.engine_kwargs["max_num_seqs"] == 8
    assert config.args.engine_kwargs["max_model_len"] == 4096
    assert config.serve["http_options"]["port"] == config.port == 9000


def test_nobody_is_told_to_listen_where_the_file_says_nothing() -> None:
    # What starts it decides: a Ray of its own is for this machine, one of several nodes
    # cannot be.
    assert "host" not in load_config().serve["http_options"]
    assert not load_config().is_local


@pytest.mark.parametrize(
    ("host", "is_local", "asked_at"),
    [
        ("127.0.0.1", True, "127.0.0.1"),
        ("localhost", True, "localhost"),
        ("::1", True, "[::1]"),
        ("0.0.0.0", False, "127.0.0.1"),
        ("::", False, "127.0.0.1"),
        ("10.1.2.3", False, "10.1.2.3"),
    ],
)
def test_a_service_is_asked_where_it_listens(
    host: str, is_local: bool, asked_at: str
) -> None:
    config = load_config(host=host, overrides={"streaming": "handle"})
    assert config.serve["http_options"]["host"] == host
    assert config.is_local is is_local
    assert config.base_url == f"http://{asked_at}:8000/v1"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_haproxy_reaches_the_replicas_of_its_machine(host: str) -> None:
    assert load_config(host=host).host == host


@pytest.mark.parametrize("host", ["10.1.2.3", "::1", "localhost", "127.0.0.2"])
def test_where_haproxy_would_look_for_them_in_vain_nothing_is_started(host: str) -> None:
    with pytest.raises(ConfigError, match=rf"http_options\.host='{host}' is invalid"):
        load_config(host=host)


def test_whoever_starts_a_service_has_a_key_of_it(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("a-key-of-a-service\n")
    config = load_config(overrides={"api_keys_file": str(path)})
    assert config.authorization() == {"Authorization": "Bearer a-key-of-a-service"}
    assert load_config().authorization() == {}


def test_overrides_are_checked_like_the_file() -> None:
    with pytest.raises(ConfigError, match=r"args\.router='best'"):
        load_config(overrides={"router": "best"})


@pytest.mark.parametrize(
    ("overrides", "result"),
    [
        ({}, {"a": 1, "b": {"c": 2, "d": 3}}),
        ({"a": 5}, {"a": 5, "b": {"c": 2, "d": 3}}),
        ({"b": {"c": 4}}, {"a": 1, "b": {"c": 4, "d": 3}}),
        ({"b": {"c": None}}, {"a": 1, "b": {"d": 3}}),
        ({"a": None, "b": {"e": {"f": 1}}}, {"b": {"c": 2, "d": 3, "e": {"f": 1}}}),
        ({"a": {"x": 1}}, {"a": {"x": 1}, "b": {"c": 2, "d": 3}}),
    ],
)
def test_mappings_merge_and_none_takes_away(
    overrides: dict[str, Any], result: dict[str, Any]
) -> None:
    base = {"a": 1, "b": {"c": 2, "d": 3}}
    assert merged(base, overrides) == result
    assert base == {"a": 1, "b": {"c": 2, "d": 3}}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("applications: []", id="none"),
        pytest.param("applications: [{import_path: a:b}]", id="not-ours"),
        pytest.param(
            "applications: [{import_path: deployments.app:build_app}, {import_path: a:b}]",
            id="two",
        ),
        pytest.param("- a", id="no-keys"),
        pytest.param("a: [", id="not-yaml"),
        pytest.param("a: 2001-99-99", id="no-date"),
        pytest.param("a: !!int b", id="no-int"),
        pytest.param("a: !!timestamp b", id="no-timestamp"),
        pytest.param("a: " + "[" * 2000, id="too-deep"),
        pytest.param(f"{OURS}\nhttp_options: [1]", id="no-options"),
        pytest.param(f"{OURS}\nhttp_options: {{port: all}}", id="no-port"),
        pytest.param(f"{OURS}\nhttp_options: {{host: 1}}", id="no-host"),
        pytest.param(OURS.replace("}]", ", args: [1]}]"), id="no-args"),
        pytest.param(OURS.replace("}]", ", name: 1}]"), id="no-name"),
        pytest.param(OURS.replace("}]", ", route_prefix: null}]"), id="no-prefix"),
    ],
)
def test_a_config_that_is_not_ours_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"other\.yaml") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["folder", "bytes"])
def test_a_config_that_cannot_be_read_is_refused_by_name(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "other.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"other\.yaml cannot be read"):
        load_config(path)


def test_a_line_with_a_token_in_it_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "other.yaml"
    path.write_text("a:\n  HF_TOKEN: hf_0123456789: [")
    with pytest.raises(ConfigError, match="row 2") as caught:
        load_config(path)
    assert "hf_0123456789" not in str(caught.value)


def test_a_config_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load_config(tmp_path / "none.yaml")


def test_port_and_prefix_of_the_file_make_the_address(tmp_path: Path) -> None:
    content = yaml.safe_load(DEFAULT_CONFIG.read_text())
    content["http_options"]["port"] = 8123
    content["applications"][0]["route_prefix"] = "/llm"
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(content))
    assert load_config(path).base_url == "http://127.0.0.1:8123/llm/v1"
