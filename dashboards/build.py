"""`python -m dashboards.build [--check]`: writes the dashboards and rules, or compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import fleet, overview, runbooks, scheduler
from dashboards.panels import build_dashboard
from dashboards.rules import rules

GENERATED = Path(__file__).parent / "generated"
RULES_NAME = "andes.rules.yml"
# The same for Kubernetes: k8s/base/observability takes this folder as it is.
OPERATOR_RULES_NAME = "prometheusrule.yaml"
_HEADER = "# Made by `make dashboards` from dashboards/; changes here are lost.\n"


def generated() -> dict[str, str]:
    """Every file that is generated, by its name."""
    files = {
        f"{board.UID}.json": _json(
            build_dashboard(board.UID, board.TITLE, board.TEXT, board.ROWS)
        )
        for board in (overview, scheduler, fleet)
    }
    files[f"{runbooks.UID}.json"] = _json(runbooks.build_runbooks())
    return files | {
        RULES_NAME: _yaml(rules()),
        OPERATOR_RULES_NAME: _yaml(_operator_rules()),
        "kustomization.yaml": _yaml(_kustomization(sorted(files))),
    }


def outdated(folder: Path = GENERATED) -> list[str]:
    """Names of the files that differ from what would be generated, or have no source."""
    wanted = generated()
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*")}
    return sorted(n for n in wanted.keys() | there.keys() if wanted.get(n) != there.get(n))


def write(folder: Path = GENERATED) -> None:
    """Make `folder` hold what is generated, and nothing else."""
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*"):
        path.unlink()
    for name, text in generated().items():
        (folder / name).write_text(text, encoding="utf-8")


def _operator_rules() -> dict[str, object]:
    """The rules as the Prometheus operator takes them."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        # As on the PodMonitors: the Helm release of the operator.
        "metadata": {"name": "andes", "labels": {"release": "prometheus"}},
        "spec": rules(),
    }


def _kustomization(boards: list[str]) -> dict[str, object]:
    """Rules, and each dashboard where Grafana's sidecar looks for one."""
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [OPERATOR_RULES_NAME],
        "configMapGenerator": [
            {"name": Path(board).stem, "files": [board]} for board in boards
        ],
        "generatorOptions": {
            "labels": {"grafana_dashboard": "1"},
            # Grafana knows a dashboard by its uid; nobody mounts these by name.
            "disableNameSuffixHash": True,
        },
    }


def _yaml(content: object) -> str:
    text = yaml.safe_dump(content, sort_keys=False, width=88, allow_unicode=True)
    return _HEADER + text


def _json(board: object) -> str:
    return json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main(arguments: list[str]) -> str | None:
    """What to exit with: a sentence if `--check` finds a file out of date."""
    if arguments == ["--check"]:
        names = outdated()
        return f"out of date, run `make dashboards`: {', '.join(names)}" if names else None
    if arguments:
        return "usage: python -m dashboards.build [--check]"
    write()
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
