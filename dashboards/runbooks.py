"""The pages of docs/runbooks: where alerts and panels lead to, and in Grafana itself."""

from __future__ import annotations

import os
import re
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard, text
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.text import TextMode

UID, TITLE = "andes-runbooks", "Andes: runbooks"
TEXT = "What to look at and what to do when an alert comes, or a panel looks bad."
IN_REPOSITORY = "docs/runbooks"
FOLDER = Path(__file__).parents[1] / IN_REPOSITORY
# Where people read the pages on the web, if they do; set when the files are written.
URL_ENV = "ANDES_RUNBOOKS_URL"
PAGES = tuple(sorted(path.stem for path in FOLDER.glob("*.md")))
_HEIGHT_ROWS = 14


def alert_url(page: str) -> str:
    """Where whoever is woken reads `page`: on the web, else a path in the repository."""
    return f"{_web() or IN_REPOSITORY}/{page}.md"


def panel_url(page: str) -> str:
    """Where a panel links to for `page`: the web, else the dashboard of the pages."""
    web = _web()
    return f"{web}/{page}.md" if web else f"/d/{UID}?viewPanel={PAGES.index(page) + 1}"


def build_runbooks() -> models.Dashboard:
    """The pages as a dashboard, which panels can link to without knowing any address."""
    board = dashboard.Dashboard(TITLE).uid(UID).description(TEXT).tags(["andes"])
    for number, page in enumerate(PAGES, start=1):
        title, _, body = (FOLDER / f"{page}.md").read_text("utf-8").partition("\n")
        board = board.with_panel(
            text.Panel()
            .id(number)
            .title(title.removeprefix("# "))
            .mode(TextMode.MARKDOWN)
            .content(_linked(body.strip()))
            .span(12)
            .height(_HEIGHT_ROWS)
        )
    return board.build()


def _web() -> str:
    return os.environ.get(URL_ENV, "").rstrip("/")


def _linked(body: str) -> str:
    """`body` with links between pages that work where it is shown."""
    return re.sub(r"\]\(([\w-]+)\.md\)", lambda m: f"]({panel_url(m[1])})", body)
