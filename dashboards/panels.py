"""One way to build a panel, so that none lacks its text or its runbook."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import bargauge, common, dashboard, stat, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import VizOrientation
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    VariableRefresh,
)

from telemetry.catalogue import ACTIVE

# Where people read the runbooks: set it when the dashboards and rules are written.
RUNBOOKS_ENV, DEFAULT_RUNBOOKS = "ANDES_RUNBOOKS_URL", "https://andes.example/runbooks"
DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT, COLUMNS = 8, 24

Unit = Literal["percentunit", "short", "s", "reqps", "ops", "none"]
Kind = Literal["timeseries", "stat", "bargauge"]
Builder = timeseries.Panel | stat.Panel | bargauge.Panel
_BUILDERS: dict[Kind, type[Builder]] = {
    "timeseries": timeseries.Panel,
    "stat": stat.Panel,
    "bargauge": bargauge.Panel,
}


def runbook_url(page: str) -> str:
    """Where page `page` of docs/runbooks is read."""
    return f"{os.environ.get(RUNBOOKS_ENV, DEFAULT_RUNBOOKS).rstrip('/')}/{page}.md"


@dataclass(frozen=True, slots=True)
class Panel:
    """What a panel shows and says.

    Attributes:
        title: In a few words.
        text: What a newcomer must know to read it: what it is, and what is bad.
        queries: PromQL and the legend of its series, one or more.
        runbook: Page of docs/runbooks on what to do about it.
        unit: Of its values.
        width: Of 24 columns.
        kind: How it is drawn.
        limits: (value, colour) from which on values have that colour; below, green.
        top: Highest value of its axis; None to let Grafana choose.
    """

    title: str
    text: str
    queries: tuple[tuple[str, str], ...]
    runbook: str
    unit: Unit = "short"
    width: int = 8
    kind: Kind = "timeseries"
    limits: tuple[tuple[float, str], ...] = ()
    top: float | None = None

    def build(self) -> Builder:
        """The panel as the dashboard takes it."""
        link = dashboard.DashboardLink("Runbook").url(runbook_url(self.runbook))
        panel = (
            _BUILDERS[self.kind]()
            .title(self.title)
            .description(self.text)
            .datasource(DATASOURCE)
            .unit(self.unit)
            .min(0)
            .span(self.width)
            .height(HEIGHT)
            .links([link.type(DashboardLinkType.LINK).target_blank(True)])
        )
        if self.top is not None:
            panel = panel.max(self.top)
        if self.limits:
            steps = [Threshold(value=v, color=c) for v, c in (*_GREEN, *self.limits)]
            panel = panel.thresholds(dashboard.ThresholdsConfig().steps(steps))
        if not isinstance(panel, timeseries.Panel):
            newest = common.ReduceDataOptions().calcs(["lastNotNull"])
            panel = panel.reduce_options(newest)
        if isinstance(panel, bargauge.Panel):
            panel = panel.orientation(VizOrientation.HORIZONTAL)
        if isinstance(panel, timeseries.Panel):
            panel = panel.legend(common.VizLegendOptions().show_legend(True))
        for expr, legend in self.queries:
            panel = panel.with_target(self._query(expr, legend))
        return panel

    def _query(self, expr: str, legend: str) -> Dataquery:
        query = Dataquery().expr(expr).legend_format(legend).ref_id(self._ref(expr))
        return query if self.kind == "timeseries" else query.instant()

    def _ref(self, expr: str) -> str:
        return chr(ord("A") + [e for e, _ in self.queries].index(expr))


_GREEN: tuple[tuple[float | None, str], ...] = ((None, "green"),)


def build_dashboard(
    uid: str, title: str, text: str, rows: dict[str, tuple[Panel, ...]]
) -> models.Dashboard:
    """A dashboard of rows of panels, with a choice of data source and application."""
    variable = (
        dashboard.QueryVariable("application")
        .label("Application")
        .datasource(DATASOURCE)
        .query(f"label_values({ACTIVE.exposed}, application)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )
    board = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(text)
        .tags(["andes"])
        .editable()
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus"))
        .with_variable(variable)
        .link(
            dashboard.DashboardLink("Andes")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["andes"])
            .keep_time(True)
        )
    )
    for name, panels in rows.items():
        assert sum(panel.width for panel in panels) % COLUMNS == 0, f"{title}: {name}"
        board = board.with_row(dashboard.Row(name))
        for panel in panels:
            board = board.with_panel(panel.build())
    return board.build()
