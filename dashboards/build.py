"""`python -m dashboards.build [--check]`: writes the dashboards and rules, or compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import fleet, overview, scheduler
from dashboards.panels import build_dashboard
from dashboards.rules import rules

GENERATED = Path(__file__).parent / "generated"
RULES_NAME = "andes.rules.yml"
_HEADER = "# Made by `make dashboards` from dashboards/rules.py; changes here are lost.\n"


def generated() -> dict[str, str]:
    """Every file that is generated, by its name."""
    files = {
        f"{board.UID}.json": _json(
            build_dashboard(board.UID, board.TITLE, board.TEXT, board.ROWS)
        )
        for board in (overview, scheduler, fleet)
    }
    text = yaml.safe_dump(rules(), sort_keys=False, width=88, allow_unicode=True)
    return files | {RULES_NAME: _HEADER + text}


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
