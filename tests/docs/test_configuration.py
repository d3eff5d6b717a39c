"""`docs/configuration.md` names the settings that exist, and no others."""

import re
from pathlib import Path

import yaml

from deployments.config import AppArgs
from scheduler.settings import SchedulerSettings

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
MAX_SETTINGS = 6
MODEL = {"model": {"id": "m", "source": "s"}}
# How often an engine reports: of the router's knowledge, and no choice of the policy.
NOT_IN_THE_TABLE = {"report_period_s"}
# Keys of a service that fill in settings of other names.
OWN_KEYS = {
    "scheduler": {"policy"},
    "default_profile": {"default_ttft_s", "default_tds"},
    "default_patience_s": {"default_patience_s"},
}


def section(title: str) -> str:
    text = PAGE.read_text().split(f"### {title}\n")[1]
    return re.split(r"^#{2,3} ", text, maxsplit=1, flags=re.MULTILINE)[0]


def rows() -> dict[str, str]:
    """Of the scheduler's settings: key and default, as they stand in the table."""
    found = re.findall(
        r"^\| `([\w.]+)` \|\s*(.*?)\s*\|", section("The scheduler's settings"), re.MULTILINE
    )
    return {key: default.strip("`") for key, default in found}


def test_every_setting_of_the_scheduler_has_a_row_and_there_are_six_at_most() -> None:
    keys = set(rows())
    own = {key for key in keys if not key.startswith("andes.")}
    named = {key.removeprefix("andes.") for key in keys - own}
    named |= set().union(*(OWN_KEYS[key] for key in own))
    assert named == set(SchedulerSettings.model_fields) - NOT_IN_THE_TABLE
    assert len(keys) <= MAX_SETTINGS


def test_the_defaults_of_the_scheduler_are_those_of_the_code() -> None:
    given = {key: yaml.safe_load(default) for key, default in rows().items() if default}
    of_andes = {k.removeprefix("andes."): v for k, v in given.items() if "." in k}
    own = {key: value for key, value in given.items() if "." not in key}
    written = AppArgs.parse({**MODEL, **own, "andes": of_andes})
    assert written == AppArgs.parse(MODEL)
    left_empty = {key for key, default in rows().items() if not default}
    assert all(getattr(written, key) is None for key in left_empty)


def test_the_example_of_the_scheduler_is_taken() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", section("The scheduler's settings"), re.S)
    AppArgs.parse(MODEL | yaml.safe_load(example))
