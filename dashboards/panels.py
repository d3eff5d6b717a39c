"""One way to build a panel, so that none lacks its text or its runbook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import bargauge, common, dashboard, stat, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import (
    BigValueTextMode,
    GraphThresholdsStyleMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    FieldColorModeId,
    Threshold,
    VariableRefresh,
)

from dashboards.runbooks import panel_url
from telemetry.catalogue import ACTIVE, CLASS_LABEL, CLASSES

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
COLUMNS = 24

Unit = Literal["percentunit", "short", "s", "reqps", "suffix:/s", "suffix:tokens/s"]
Kind = Literal["timeseries", "stat", "bargauge"]
Builder = timeseries.Panel | stat.Panel | bargauge.Panel
_BUILDERS: dict[Kind, type[Builder]] = {
    "timeseries": timeseries.Panel,
    "stat": stat.Panel,
    "bargauge": bargauge.Panel,
}
# A number needs no room; bars and lines do.
_HEIGHT: dict[Kind, int] = {"timeseries": 8, "stat": 5, "bargauge": 8}


_OF_CLASS = f"{{{{{CLASS_LABEL}}}}}"
# A class has the same colour in every panel.
_CLASS_COLOURS = dict(zip(CLASSES, ("green", "blue", "#9fa7b3", "yellow"), strict=True))


def _fixed(colour: str) -> models.DynamicConfigValue:
    return models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": colour})


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
        limits: (value, colour) from which on values have that colour, or where a line is
            drawn across a graph.
        below: Colour of what is below them all.
        bottom: Lowest value of its axis; None where values may be negative.
        top: Highest value of its axis; None to let Grafana choose.
        low_top: The same while all values are below it: nothing must not look like much.
        whole: Whether its values are counts.
    """

    title: str
    text: str
    queries: tuple[tuple[str, str], ...]
    runbook: str
    unit: Unit = "short"
    width: int = 8
    kind: Kind = "timeseries"
    limits: tuple[tuple[float, str], ...] = ()
    below: str = "green"
    bottom: float | None = 0
    top: float | None = None
    low_top: float | None = None
    whole: bool = False

    def build(self) -> Builder:
        """The panel as the dashboard takes it."""
        link = dashboard.DashboardLink("Runbook").url(panel_url(self.runbook))
        panel = (
            _BUILDERS[self.kind]()
            .title(self.title)
            .description(self.text)
            .datasource(DATASOURCE)
            .unit(self.unit)
            .span(self.width)
            .height(_HEIGHT[self.kind])
            .links([link.type(DashboardLinkType.LINK).target_blank(True)])
        )
        if self.bottom is not None:
            panel = panel.min(self.bottom)
        if self.top is not None:
            panel = panel.max(self.top)
        if self.whole:
            panel = panel.decimals(0)
        panel = self._drawn(panel.thresholds(self._thresholds()))
        for expr, legend in self.queries:
            panel = panel.with_target(self._query(expr, legend))
        return panel

    def _thresholds(self) -> dashboard.ThresholdsConfig:
        steps: tuple[tuple[float | None, str], ...] = ((None, self.below), *self.limits)
        return dashboard.ThresholdsConfig().steps(
            [Threshold(value=value, color=colour) for value, colour in steps]
        )

    def _drawn(self, panel: Builder) -> Builder:
        """`panel` with what only its kind has."""
        if isinstance(panel, timeseries.Panel):
            return self._as_lines(panel)
        by_limits = dashboard.FieldColor().mode(FieldColorModeId.THRESHOLDS)
        newest = common.ReduceDataOptions().calcs(["lastNotNull"])
        panel = panel.color_scheme(by_limits).reduce_options(newest)
        if isinstance(panel, stat.Panel):
            named = len(self.queries) > 1
            mode = BigValueTextMode.VALUE_AND_NAME if named else BigValueTextMode.VALUE
            return panel.text_mode(mode)
        # Of its own accord it draws names so large that they do not fit.
        sizes = common.VizTextDisplayOptions().title_size(14).value_size(20)
        return panel.orientation(VizOrientation.HORIZONTAL).text(sizes)

    def _as_lines(self, panel: timeseries.Panel) -> timeseries.Panel:
        panel = (
            panel.legend(common.VizLegendOptions().show_legend(True))
            .show_points(VisibilityMode.NEVER)
            .fill_opacity(0)
            .line_width(2)
        )
        if any(legend == _OF_CLASS for _, legend in self.queries):
            for name, colour in _CLASS_COLOURS.items():
                panel = panel.override_by_name(name, [_fixed(colour)])
        if self.low_top is not None:
            panel = panel.axis_soft_max(self.low_top)
        if self.limits:
            dashed = common.GraphThresholdsStyleConfig()
            panel = panel.thresholds_style(dashed.mode(GraphThresholdsStyleMode.DASHED))
        return panel

    def _query(self, expr: str, legend: str) -> Dataquery:
        query = Dataquery().expr(expr).legend_format(legend).ref_id(self._ref(expr))
        return query if self.kind == "timeseries" else query.instant()

    def _ref(self, expr: str) -> str:
        return chr(ord("A") + [e for e, _ in self.queries].index(expr))


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
