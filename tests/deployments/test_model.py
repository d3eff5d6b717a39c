"""A model is found from wherever the service is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.config_errors import ConfigError
from deployments.model import is_local, resolve_source
from deployments.tiny_model import PROJECT_ROOT, TINY_MODEL_DIR


def test_a_relative_path_starts_at_the_project_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_source(".run/tiny-llama") == str(TINY_MODEL_DIR)
    assert (PROJECT_ROOT / ".run/tiny-llama/config.json").is_file()


def test_an_absolute_path_is_taken_if_a_model_is_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"args\.model\.source='.*' .* no model in"):
        resolve_source(str(tmp_path))
    (tmp_path / "config.json").touch()
    assert resolve_source(str(tmp_path)) == str(tmp_path)


def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub() -> None:
    with pytest.raises(ConfigError, match="no model in"):
        resolve_source("./models/llama")


def test_any_other_name_is_the_hubs() -> None:
    assert resolve_source("meta-llama/Llama-3.1-8B") == "meta-llama/Llama-3.1-8B"
    assert not is_local("meta-llama/Llama-3.1-8B")
