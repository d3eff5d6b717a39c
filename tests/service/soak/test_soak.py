"""Nothing is lost, whatever is asked and broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from bench.soak import command
from bench.soak.command import SoakArguments
from deployments.service_config import DEFAULT_CONFIG

if TYPE_CHECKING:
    from conftest import Client

# An engine stands still, router and HAProxy die, a replica stands still, and one dies.
SEED = 8


@pytest.mark.parametrize(
    "duration_s",
    [
        pytest.param(90.0, id="short"),
        pytest.param(1800.0, id="long", marks=pytest.mark.timeout(3600)),
    ],
)
@pytest.mark.nightly
def test_a_soak_loses_nothing(soaked: Client, duration_s: float) -> None:
    soaked.settled()
    arguments = SoakArguments(
        duration_s=duration_s,
        rate=1.5,
        seed=SEED,
        streaming="direct",
        faults=True,
        config=DEFAULT_CONFIG,
        json=None,
        publish=False,
        command="",
    )
    soak = command.soaked(soaked.service, arguments, Console(stderr=True))
    assert [check for check in soak.checks if not check.held] == []
    assert soak.faults
