"""A fleet on a terminal of any width."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bench.top.page import Fleet, Replica, Router, Streams
from telemetry.catalogue import CLASSES
from telemetry.report import TARGET_QOE

# Below the first, headings are short and there are no bars; below the second, what one can
# do without is left out.
WIDE, NARROW = 92, 56
BAR_CELLS = 10
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class View:
    """What to draw.

    Attributes:
        fleet: As it is now.
        before: As it was `elapsed_s` ago: totals are shown for the time since. None: since
            the engines began.
        notice: What the person should know about the page itself.
    """

    fleet: Fleet
    before: Fleet | None = None
    elapsed_s: float = 0.0
    notice: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        parts: list[Text | Table] = [_title(self.fleet)]
        if self.notice:
            parts.append(Text(self.notice, style="yellow"))
        for part in (
            self._replicas(width),
            self._classes(width),
            _router(self.fleet.router),
        ):
            parts += [Text(), part]
        yield Group(*parts)

    def _replicas(self, width: int) -> Table:
        wide, roomy = width >= WIDE, width >= NARROW
        table = _table()
        table.add_column("replica", overflow="ellipsis")
        table.add_column("KV used" if wide else "KV", justify="right")
        for long, short in (("running", "run"), ("waiting", "wait"), ("preempted", "pre")):
            table.add_column(long if wide else short, justify="right")
        table.add_column("below target" if wide else "below", justify="right")
        if roomy:
            table.add_column("QoE", justify="right")
            table.add_column("tokens/s" if wide else "tok/s", justify="right")
        for replica in self.fleet.replicas:
            old = self._old(replica)
            row = [
                escape(replica.name),
                _kv(replica, bar=wide),
                *(
                    f"{replica.states.get(state, 0.0):,.0f}"
                    for state in ("running", "waiting", "preempted")
                ),
                _below(replica.readers),
            ]
            if roomy:
                row.append(_mean(replica.readers, old.readers if old else None))
                row.append(self._speed(replica, old))
            table.add_row(*row)
        return table

    def _classes(self, width: int) -> Table:
        table = _table()
        table.add_column("readers")
        table.add_column("streams" if width >= NARROW else "now", justify="right")
        table.add_column("below target" if width >= WIDE else "below", justify="right")
        table.add_column("QoE", justify="right")
        table.add_column("finished" if width >= NARROW else "done", justify="right")
        for name in CLASSES:
            now = self.fleet.of_class(name)
            # Counters begin with almost nothing.
            if max(now.active, now.finished) < 1.0:
                continue
            old = self.before.of_class(name) if self.before else None
            table.add_row(
                name,
                f"{now.active:,.0f}",
                _below(now),
                _mean(now, old),
                f"{now.finished:,.0f}",
            )
        if not table.row_count:
            table.add_row("nobody yet", *[NOTHING] * 4)
        return table

    def _old(self, replica: Replica) -> Replica | None:
        replicas = self.before.replicas if self.before else ()
        return next((old for old in replicas if old.name == replica.name), None)

    def _speed(self, replica: Replica, old: Replica | None) -> str:
        if replica.tokens is None or old is None or old.tokens is None:
            return NOTHING
        if self.elapsed_s <= 0.0:
            return NOTHING
        return f"{max(0.0, replica.tokens - old.tokens) / self.elapsed_s:,.0f}"


def _table() -> Table:
    return Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)


def _title(fleet: Fleet) -> Text:
    count = len(fleet.replicas)
    policies = ", ".join(sorted({replica.policy for replica in fleet.replicas}))
    return Text.assemble(
        ("andes", "bold"),
        f"  {count} replica{'' if count == 1 else 's'}",
        f" · {policies}" if policies else "",
    )


def _kv(replica: Replica, *, bar: bool) -> str:
    if not replica.kv_total:
        return NOTHING
    share = min(1.0, replica.kv_used / replica.kv_total)
    style = "red" if share >= 0.95 else "yellow" if share >= 0.8 else "green"
    full = round(share * BAR_CELLS)
    drawn = f"{'█' * full}[dim]{'░' * (BAR_CELLS - full)}[/] " if bar else ""
    return f"[{style}]{drawn}{share:4.0%}[/]"


def _below(streams: Streams) -> str:
    if not streams.active:
        return NOTHING
    share = streams.below_target / streams.active
    style = "red" if share >= 0.5 else "yellow" if share > 0.1 else "green"
    return f"[{style}]{streams.below_target:,.0f} ({share:.0%})[/]"


def _mean(now: Streams, old: Streams | None) -> str:
    """Mean QoE of the streams that finished since, or else of all that ever did."""
    since = Streams(
        finished=now.finished - (old.finished if old else 0.0),
        qoe_sum=now.qoe_sum - (old.qoe_sum if old else 0.0),
    )
    counted = since if since.finished >= 1.0 else now
    if counted.finished < 1.0:
        return NOTHING
    mean = min(1.0, max(0.0, counted.qoe_sum / counted.finished))
    style = "green" if mean >= TARGET_QOE else "yellow" if mean >= 0.8 else "red"
    return f"[{style}]{mean:.2f}[/]"


def _router(router: Router) -> Text:
    outcomes = router.outcomes
    in_turn = outcomes.get("no_report", 0.0) + outcomes.get("error", 0.0)
    words = [f"{outcomes.get('scored', 0.0):,.0f} scored", f"{in_turn:,.0f} in turn"]
    words += [f"{outcomes.get(name, 0.0):,.0f} {name}" for name in ("held", "shed")]
    words.append(f"{router.on_their_way:,.0f} on their way")
    if router.oldest_report_s is not None:
        words.append(f"oldest report {router.oldest_report_s:.1f} s")
    return Text.assemble(("router", "dim"), "  ", " · ".join(words))
