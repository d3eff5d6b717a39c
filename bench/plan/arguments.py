"""What `andes plan` was asked to do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.plan.contenders import DEFAULT_CONTENDERS, Contender
from bench.plan.targets import Target
from bench.replay.arguments import Cell, Scenario, overrides_of

DEFAULT_TARGETS = (Target("mean", 0.95),)


class PlanArguments(Scenario, frozen=True, kw_only=True):
    """A load, an engine, what its readers are to get, and where to write how many it takes.

    Attributes:
        target: All of them are to be met.
        contender: Who is planned for, the first one being what others are compared with.
        max_replicas: No more are tried.
        workers: Processes that replay.
    """

    target: tuple[Target, ...] = DEFAULT_TARGETS
    contender: tuple[Contender, ...] = DEFAULT_CONTENDERS
    max_replicas: int = 32
    workers: int = 1
    json: Path | None = None
    plot: Path | None = None
    page: Path | None = None

    def cell(self, contender: Contender) -> Cell:
        """The replay of one of the contenders."""
        scenario = {name: getattr(self, name) for name in Scenario.__struct_fields__}
        return Cell(**scenario, scheduler=contender.scheduler)


def plan_arguments(given: Mapping[str, Any]) -> PlanArguments:
    """The options as the command line has them, by name.

    Raises:
        UserError: There is not exactly one load, or a `--set` is not KEY=VALUE.
    """
    return PlanArguments(
        **{
            **given,
            "target": tuple(dict.fromkeys(given["target"] or DEFAULT_TARGETS)),
            "contender": tuple(dict.fromkeys(given["contender"] or DEFAULT_CONTENDERS)),
            "workers": given["workers"] or os.cpu_count() or 1,
            "settings": overrides_of(given["settings"] or ()),
        }
    )
