"""Options of `andes replay` that only many replicas have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from bench.errors import Limits, UserError, shown
from bench.fleet.arguments import REPLICAS_PER_WORKER
from bench.fleet.faults import FORM, KINDS, Fault, parse_fault
from bench.fleet.scaling import FORM as SCALING_FORM
from bench.fleet.scaling import SCALINGS, Scaling, parse_scaling
from bench.options.parsers import checked, number, page_path
from router.settings import PolicyName

FLEET = "Many replicas"
SCALING = "Autoscaling of many replicas"

ROUTER_NAMES: tuple[str, ...] = get_args(PolicyName)
_SPEED = Limits(0.01, 100, "times the profile's speed")


def _router(flag: str, text: str) -> str:
    if text not in ROUTER_NAMES:
        raise UserError(
            f"{flag}={shown(text)} is invalid: it must be one of {', '.join(ROUTER_NAMES)}."
        )
    return text


def _speeds(flag: str, text: str) -> tuple[float, ...]:
    name = f"{flag}={shown(text)}: a speed"
    return tuple(_SPEED.parse(name, part.strip()) for part in text.split(","))


Replicas = Annotated[
    int | None,
    number(
        "--replicas",
        Limits(1, 1024, "replicas", whole=True),
        "Engines behind a router, in one virtual time.",
        FLEET,
        show_default="one, without a router",
    ),
]
Workers = Annotated[
    int | None,
    number(
        "--workers",
        Limits(1, 64, "processes", whole=True),
        "Processes that share the replicas; the numbers are the same with any.",
        FLEET,
        show_default=f"one a core, and for {REPLICAS_PER_WORKER} replicas or more each",
    ),
]
Router = Annotated[
    list[str] | None,
    checked(
        "--router",
        _router,
        "|".join(ROUTER_NAMES),
        "Who picks a replica for each stream; repeat it to compare.",
        FLEET,
        show_default="qoe",
    ),
]
RouterCount = Annotated[
    int,
    number(
        "--router-count",
        Limits(1, 64, "routers", whole=True),
        "Routers that streams go to in turn; none knows what another has sent.",
        FLEET,
    ),
]
ReportPeriodS = Annotated[
    float | None,
    number(
        "--report-period-s",
        Limits(0.001, 3600, "seconds"),
        "How often an engine reports to the routers.",
        FLEET,
        show_default="0.1, or --set report_period_s",
    ),
]
ReportDelayS = Annotated[
    float,
    number(
        "--report-delay-s",
        Limits(0, 3600, "seconds"),
        "How long a report is under way.",
        FLEET,
    ),
]
ReportLoss = Annotated[
    float,
    number(
        "--report-loss",
        Limits(0, 1, ""),
        "Share of the reports that one router never gets.",
        FLEET,
    ),
]
ReplicaSpeeds = Annotated[
    str | None,
    checked(
        "--replica-speeds",
        _speeds,
        "SPEED,SPEED,...",
        "Speed of each replica over the profile's, as 1.3,1.3,0.6,0.6.",
        FLEET,
        show_default="1 for all",
    ),
]
At = Annotated[
    list[Fault] | None,
    checked(
        "--at",
        parse_fault,
        "'SECONDS KIND REPLICA'",
        f"A fault, {FORM}, as '60 kill 2' or '90 slow 1 0.5'; KIND is one of "
        f"{', '.join(KINDS)}. Replicas count from 0. Repeat it for more.",
        FLEET,
    ),
]
ResumeElsewhere = Annotated[
    bool,
    typer.Option(
        "--resume-elsewhere",
        help="Streams that a killed replica had begun are continued by another.",
        rich_help_panel=FLEET,
    ),
]
DirectStreaming = Annotated[
    bool,
    typer.Option(
        "--direct-streaming",
        help="Routers are never told that a stream has ended; they have reports to go by.",
        rich_help_panel=FLEET,
    ),
]
Autoscale = Annotated[
    list[Scaling] | None,
    checked(
        "--autoscale",
        parse_scaling,
        "|".join(SCALINGS),
        f"Who changes the number of replicas, {SCALING_FORM}, as "
        "ongoing,target_ongoing_requests=40. qoe is ours, ongoing is Ray Serve's own on "
        "ongoing requests. Repeat it to compare.",
        SCALING,
    ),
]
MinReplicas = Annotated[
    int,
    number(
        "--min-replicas",
        Limits(1, 1024, "replicas", whole=True),
        "Never fewer.",
        SCALING,
    ),
]
MaxReplicas = Annotated[
    int,
    number(
        "--max-replicas",
        Limits(1, 1024, "replicas", whole=True),
        "Never more.",
        SCALING,
    ),
]
StartupS = Annotated[
    float,
    number(
        "--startup-s",
        Limits(0, 3600, "seconds"),
        "From the order of a replica to its first stream; it holds its GPUs meanwhile. "
        "30 s is weights on a local disk and a warm compile cache.",
        SCALING,
    ),
]
AutoscalePeriodS = Annotated[
    float | None,
    number(
        "--autoscale-period-s",
        Limits(0.1, 3600, "seconds"),
        "How often the autoscaler is asked, with reports as new as that.",
        SCALING,
        show_default="1, as often as replicas push to Serve",
    ),
]
Page = Annotated[
    Path | None,
    checked(
        "--page",
        page_path,
        "OUT.md",
        "Compare the autoscalers on a page, with a picture beside it.",
        SCALING,
    ),
]
