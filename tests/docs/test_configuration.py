"""`docs/configuration.md` names the settings and fields that exist, and no others."""

import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.access.caps import CapArgs
from deployments.access.keys import ApiKey
from deployments.config import AppArgs
from qoe.feedback import FEEDBACK_FIELDS
from qoe.fields import FIELDS, SHARE_FIELD, TENANT_FIELD
from router.scaling import ScalingSettings
from router.settings import RouterSettings
from scheduler.settings import SchedulerSettings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "configuration.md").read_text()
MAX_SETTINGS = 6
MODEL = {"model": {"id": "m", "source": "s"}}
SCHEDULER, SERVICE = "### The scheduler's settings", "## Of a service"
# How often an engine reports: of the router's knowledge, and no choice of the policy.
NOT_IN_THE_TABLE = {"report_period_s"}
# Keys of a service that fill in settings of other names.
OWN_KEYS = {
    "scheduler": {"policy"},
    "default_profile": {"default_ttft_s", "default_tds"},
    "default_patience_s": {"default_patience_s"},
}


def rows(mark: str) -> dict[str, str]:
    """Of the first table at or after `mark`: each key, and what the second column says."""
    _, _, rest = PAGE.partition(mark)
    assert rest, mark
    (table,) = re.findall(r"^\|[-:| ]+\|\n((?:\|.*\n)+)", rest, re.MULTILINE)[:1]
    found: dict[str, str] = {}
    for line in table.splitlines():
        first, second = (cell.strip() for cell in line.split("|")[1:3])
        keys = re.findall(r"`([\w.]+)`", first)
        values = second.split(", ") if second and len(keys) > 1 else [second] * len(keys)
        found |= dict(zip(keys, (v.strip("`") for v in values), strict=True))
    return found


def defaults(mark: str) -> dict[str, Any]:
    return {key: yaml.safe_load(text) for key, text in rows(mark).items() if text}


def of_model(model: Any) -> dict[str, Any]:
    return {name: field.default for name, field in model.model_fields.items()}


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ("## Of a request", set(FIELDS) - {TENANT_FIELD, SHARE_FIELD}),
        ("## Of a running stream", FEEDBACK_FIELDS),
        (SERVICE, {"model.id", "model.source", *AppArgs.model_fields} - {"model"}),
    ],
)
def test_every_field_and_key_has_a_row(mark: str, expected: Iterable[str]) -> None:
    assert rows(mark).keys() == set(expected)


@pytest.mark.parametrize(
    ("mark", "expected"),
    [
        ("| key of `caps` |", of_model(CapArgs)),
        ("### The autoscaler's settings", of_model(ScalingSettings)),
        ("### The router's settings", {f.name: f.default for f in fields(RouterSettings)}),
    ],
)
def test_every_setting_has_a_row_with_its_default(mark: str, expected: Any) -> None:
    assert {key: yaml.safe_load(text) for key, text in rows(mark).items()} == expected


def test_the_example_of_a_key_has_all_that_a_key_may_have() -> None:
    (example,) = re.findall(r"```yaml\n(- name: .*?)```", PAGE, re.DOTALL)
    assert set().union(*yaml.safe_load(example)) == set(ApiKey.model_fields)


def test_every_setting_of_the_scheduler_has_a_row_and_there_are_six_at_most() -> None:
    keys = set(rows(SCHEDULER))
    own = {key for key in keys if not key.startswith("andes.")}
    named = {key.removeprefix("andes.") for key in keys - own}
    named |= set().union(*(OWN_KEYS[key] for key in own))
    assert named == set(SchedulerSettings.model_fields) - NOT_IN_THE_TABLE
    assert len(keys) <= MAX_SETTINGS


@pytest.mark.parametrize("mark", [SERVICE, SCHEDULER])
def test_the_defaults_of_a_service_are_those_of_the_code(mark: str) -> None:
    given = defaults(mark)
    of_andes = {k.removeprefix("andes."): v for k, v in given.items() if "." in k}
    own = {key: value for key, value in given.items() if "." not in key}
    written = AppArgs.parse({**MODEL, **own, "andes": of_andes})
    assert written == AppArgs.parse(MODEL)
    left_empty = {k for k in rows(mark).keys() - given.keys() if "." not in k}
    nothing = (None, {}, written.andes, written.caps)
    assert all(getattr(written, key) in nothing for key in left_empty)


def examples() -> list[dict[str, Any]]:
    """Every `key: value` of a service on any page, in a block of YAML or in a sentence."""
    pages = [page.read_text() for page in DOCS.rglob("*.md")]
    found = [
        yaml.safe_load(text)
        for page in pages
        for text in (
            *re.findall(r"```yaml\n(.*?)```", page, re.DOTALL),
            *re.findall(r"`([a-z_]+: [\w.:]+)`", page),
        )
    ]
    known = set(AppArgs.model_fields)
    return [one for one in found if isinstance(one, dict) and known & one.keys()]


@pytest.mark.parametrize("example", examples(), ids=str)
def test_an_example_is_taken(example: dict[str, Any]) -> None:
    AppArgs.parse(MODEL | example)
