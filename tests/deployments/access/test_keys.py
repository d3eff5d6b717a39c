"""Keys come from one place, are checked when a service starts, and are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.access.keys import KEYS_ENV, VLLM_KEY_ENV, Keyring, load_keys
from deployments.app import build_app
from deployments.config_errors import ConfigError
from qoe import Caps

KEY, OTHER = "k" * 32, "o" * 32
SEVERAL = f"""
- name: app
  key: {KEY}
- name: voice
  key: {OTHER}
  default_profile: listening
  max_weight: 3
  max_tds: 10
  min_ttft_s: 0.5
  max_requests_per_s: 2.5
  share: 2
"""
CAPS = Caps(max_weight=1.0)


def test_without_a_source_there_is_no_key() -> None:
    assert load_keys(None, CAPS, {}) == []
    assert load_keys(None, CAPS, {KEYS_ENV: ""}) == []


@pytest.mark.parametrize("name", [KEYS_ENV, VLLM_KEY_ENV])
@pytest.mark.parametrize("key", [KEY, "1234567890123456789", f"{KEY}\n"])
def test_a_bare_key_is_one_key_under_the_deployments_caps(name: str, key: str) -> None:
    (only,) = load_keys(None, CAPS, {name: key})
    entry = Keyring.of([only], CAPS).find(key.strip())
    assert entry is not None
    assert entry.caller.caps == CAPS


def test_a_file_and_the_environment_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(SEVERAL)
    assert load_keys(str(path), CAPS, {}) == load_keys(None, CAPS, {KEYS_ENV: SEVERAL})


def test_a_key_has_caps_of_its_own_over_the_deployments() -> None:
    ring = Keyring.of(load_keys(None, CAPS, {KEYS_ENV: SEVERAL}), CAPS)
    app, voice = ring.find(KEY), ring.find(OTHER)
    assert app is not None
    assert voice is not None
    assert (app.caller.name, app.caller.caps, app.caller.profile) == ("app", CAPS, None)
    assert voice.caller.caps == Caps(3.0, 10.0, 0.5, where="api_keys[voice]")
    assert voice.caller.profile == "listening"
    assert (app.caller.share, voice.caller.share) == (1.0, 2.0)
    assert voice.max_requests_per_s == 2.5


@pytest.mark.parametrize("wrong", ["", "k", KEY[:-1], KEY + "k", KEY.upper(), "é" * 32])
def test_another_key_opens_nothing(wrong: str) -> None:
    ring = Keyring.of(load_keys(None, CAPS, {KEYS_ENV: SEVERAL}), CAPS)
    assert ring.find(wrong) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"- name: a\n  key: {KEY}\n  weight: 2", "key 1: weight"),
        (f"- name: a\n  key: {KEY[:15]}", "key 1: key: it must be 16 or more"),
        (f"- key: {KEY}", "key 1: name"),
        (f"- name: a b\n  key: {KEY}", "key 1: name"),
        (
            f"- name: a\n  key: {KEY}\n- name: a\n  key: {OTHER}",
            "key 2: another key has its name",
        ),
        (
            f"- name: a\n  key: {KEY}\n- name: b\n  key: {KEY}",
            "key 2: another key has its key",
        ),
        (f"- name: a\n  key: {KEY}\n  max_weight: 101", "max_weight=101.0 is invalid"),
        (f"- name: a\n  key: {KEY}\n  max_requests_per_s: 0", "max_requests_per_s"),
        (f"- name: a\n  key: {KEY}\n  default_profile: skim", "reading, listening, none"),
        (f"name: a\nkey: {KEY}", "a YAML list of keys"),
        (f"- name: a\n key: {KEY}", "a YAML list of keys"),
        ("[]", "a YAML list of keys"),
        (f"- name: 2001-99-99\n  key: {KEY}", "a YAML list of keys"),
        (f"- name: !!timestamp a\n  key: {KEY}", "a YAML list of keys"),
        (f"- key: {KEY}\n  name: " + "[" * 2000, "a YAML list of keys"),
        (f"- {KEY}: a", "key 1: name"),
        (f"- name: a\n  key: {KEY}\n  {KEY}: 1", "key 1: a field: Extra"),
        (f"- name: a\n  key: {KEY}\n  max_requests_per_s: .inf", "max_requests_per_s"),
    ],
)
def test_a_bad_key_is_said_where_it_is_without_being_shown(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_keys(None, CAPS, {KEYS_ENV: text})
    message = str(caught.value)
    assert message.startswith(KEYS_ENV)
    assert said in message
    assert KEY[:8] not in message
    assert "\n" not in message


def test_keys_from_two_places_are_refused() -> None:
    with pytest.raises(ConfigError, match="one place"):
        load_keys(None, CAPS, {KEYS_ENV: KEY, VLLM_KEY_ENV: OTHER})


def test_a_service_whose_keys_are_missing_does_not_start_without_them(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "no-such-file")
    args = {"model": {"id": "m", "source": "m"}, "streaming": "handle"}
    with pytest.raises(ConfigError, match=r"args\.api_keys_file='.*no-such-file'"):
        build_app(args | {"api_keys_file": path})


def test_a_path_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_keys("a\0b", CAPS, {})
