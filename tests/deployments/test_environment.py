"""A start without the environment it needs says exactly what to set."""

from __future__ import annotations

import contextlib
import inspect
import os

import pytest
from ray.llm._internal.serve import constants as llm_constants
from ray.serve._private import constants

from deployments.config_errors import ConfigError
from deployments.environment import (
    SERVING_ENV,
    STREAMING_ENV,
    require_client_addresses,
    require_streaming_environment,
    variable,
)


def test_direct_streaming_starts_with_its_environment() -> None:
    require_streaming_environment("direct", STREAMING_ENV)


def test_every_variable_is_one_that_serve_reads() -> None:
    source = inspect.getsource(constants) + inspect.getsource(llm_constants)
    for name in {*STREAMING_ENV, *SERVING_ENV}:
        assert f'"{name}"' in source


@pytest.mark.parametrize("missing", STREAMING_ENV)
def test_direct_streaming_names_each_variable_that_is_missing(missing: str) -> None:
    environ = {name: value for name, value in STREAMING_ENV.items() if name != missing}
    with pytest.raises(ConfigError) as caught:
        require_streaming_environment("direct", environ)
    needs, remedy = str(caught.value).split(". ", 1)
    assert f"{missing}=1" in needs
    assert not any(name in needs for name in environ)
    assert all(f"{name}=1" in remedy for name in STREAMING_ENV)
    assert "`ray start`" in needs
    assert "`serve run`" in needs


def test_a_variable_that_is_switched_off_counts_as_missing() -> None:
    environ = dict(STREAMING_ENV) | {"RAY_SERVE_ENABLE_HA_PROXY": "0"}
    with pytest.raises(ConfigError, match="needs RAY_SERVE_ENABLE_HA_PROXY=1 in"):
        require_streaming_environment("direct", environ)


def test_handles_need_no_environment() -> None:
    require_streaming_environment("handle", {})


def test_handles_refuse_the_variable_that_takes_them_away() -> None:
    with pytest.raises(ConfigError, match="unset RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING"):
        require_streaming_environment("handle", STREAMING_ENV)


def test_addresses_are_refused_where_haproxy_hides_them() -> None:
    require_client_addresses({"RAY_SERVE_ENABLE_HA_PROXY": "0"})
    with pytest.raises(ConfigError, match="unset RAY_SERVE_ENABLE_HA_PROXY"):
        require_client_addresses({"RAY_SERVE_ENABLE_HA_PROXY": "1"})


@pytest.mark.parametrize("before", [None, "was here"])
def test_a_variable_is_as_it_was_after_the_block_even_if_it_raised(
    before: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANDES_TEST", raising=False)
    if before is not None:
        monkeypatch.setenv("ANDES_TEST", before)
    with contextlib.suppress(ZeroDivisionError), variable("ANDES_TEST", "inside"):
        assert os.environ["ANDES_TEST"] == "inside"
        raise ZeroDivisionError
    assert os.environ.get("ANDES_TEST") == before
