"""The committed dashboards and rules: current, complete, and about metrics that exist."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards import build, queries, runbooks
from dashboards.rules import ALERTS, BURN_WINDOWS, bad_share, stream_rate
from telemetry.catalogue import CATALOGUE

REPO = Path(__file__).parents[2]
RUNBOOKS = REPO / "docs" / "runbooks"
RULES = build.GENERATED / build.RULES_NAME
PAGES_BOARD = build.GENERATED / f"{runbooks.UID}.json"
BOARDS = sorted(set(build.GENERATED.glob("*.json")) - {PAGES_BOARD})

METRIC = re.compile(r"\b(?:ray_|andes_|andes:)[a-zA-Z0-9_:]+")


def known_names() -> set[str]:
    names = set(queries.FOREIGN)
    for metric in CATALOGUE:
        parts = ("_bucket", "_count") if metric.bounds else ("",)
        names |= {metric.exposed + part for part in parts}
    return names | {name(w) for w in BURN_WINDOWS for name in (bad_share, stream_rate)}


def panels_of(path: Path) -> list[dict[str, Any]]:
    panels = json.loads(path.read_text())["panels"]
    return [panel for panel in panels if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments: object) -> str:
    path = shutil.which("promtool")
    if path is None:
        pytest.fail("promtool is missing: apt-get install prometheus")
    command = [path, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_what_is_committed_is_what_is_generated() -> None:
    assert build.outdated() == []


def test_a_file_that_was_changed_or_added_by_hand_is_found(tmp_path: Path) -> None:
    build.write(tmp_path)
    assert build.outdated(tmp_path) == []
    (tmp_path / build.RULES_NAME).write_text("groups: []\n")
    (tmp_path / "mine.json").write_text("{}")
    assert build.outdated(tmp_path) == [build.RULES_NAME, "mine.json"]
    build.write(tmp_path)
    assert build.outdated(tmp_path) == []


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_panel_explains_itself_and_links_to_a_page_that_is_there(path: Path) -> None:
    panels, shown = panels_of(path), {panel["id"] for panel in panels_of(PAGES_BOARD)}
    assert len({panel["title"] for panel in panels}) == len(panels) >= 10
    for panel in panels:
        assert len(panel["description"]) > 30, panel["title"]
        (link,) = panel["links"]
        board, _, number = link["url"].removeprefix("/d/").partition("?viewPanel=")
        assert board == PAGES_BOARD.stem
        assert int(number) in shown, panel["title"]
        assert panel["targets"], panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


@pytest.mark.parametrize("path", [*BOARDS, PAGES_BOARD], ids=lambda path: path.stem)
def test_panels_neither_overlap_nor_leave_the_grid(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(path.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_queries_ask_for_metrics_that_somebody_publishes() -> None:
    asked = {
        target["expr"]
        for p in BOARDS
        for panel in panels_of(p)
        for target in panel["targets"]
    }
    for expr in asked | {rule["expr"] for rule in rules()}:
        names = set(METRIC.findall(expr))
        assert names, expr
        assert names <= known_names(), expr


def test_a_rule_looks_at_every_application_and_a_panel_at_the_chosen_ones() -> None:
    assert not any("$application" in rule["expr"] for rule in rules())
    ours = re.compile(r"ray_andes_\w+(\{[^}]*\})?")
    for panel in (panel for path in BOARDS for panel in panels_of(path)):
        for target in panel["targets"]:
            for match in ours.finditer(target["expr"]):
                assert "$application" in (match.group(1) or ""), target["expr"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_every_alert_has_a_page_that_names_it_and_says_what_to_do(alert: Any) -> None:
    page = (RUNBOOKS / f"{alert.runbook}.md").read_text()
    assert alert.name in page.splitlines()[0]
    assert "**Look at**" in page
    assert "**Do**" in page


def test_the_pages_are_shown_in_grafana_and_link_to_each_other_there() -> None:
    panels = panels_of(PAGES_BOARD)
    assert len(panels) == len(list(RUNBOOKS.glob("*.md")))
    links = [
        number
        for panel in panels
        for number in re.findall(r"viewPanel=(\d+)", panel["options"]["content"])
    ]
    assert {int(number) for number in links} <= {panel["id"] for panel in panels}
    assert links
    assert not any(".md)" in panel["options"]["content"] for panel in panels)


def test_pages_on_the_web_are_linked_to_where_there_are_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(runbooks.URL_ENV, "https://wiki.test/andes/")
    assert runbooks.panel_url("thrash") == "https://wiki.test/andes/thrash.md"
    assert runbooks.alert_url("thrash") == "https://wiki.test/andes/thrash.md"


def test_every_page_is_about_an_alert() -> None:
    assert {p.stem for p in RUNBOOKS.glob("*.md")} == {alert.runbook for alert in ALERTS}


def test_prometheus_takes_the_rules() -> None:
    assert f"{len(rules())} rules found" in promtool("check", "rules", RULES)


def test_alerts_fire_when_they_should_and_not_before() -> None:
    promtool("test", "rules", Path(__file__).with_name("andes.rules_test.yml"))


def test_each_alert_is_proven_to_fire_and_not_to() -> None:
    tests = yaml.safe_load(Path(__file__).with_name("andes.rules_test.yml").read_text())
    cases = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    for alert in ALERTS:
        fires = {bool(c["exp_alerts"]) for c in cases if c["alertname"] == alert.name}
        assert fires == {True, False}, alert.name
