"""Options of `andes top`."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.errors import Limits
from bench.options.parsers import ENDPOINT, REPORT, checked, number, url

Pages = Annotated[
    list[str] | None,
    checked(
        "--url",
        url,
        "URL",
        "A Ray node's metrics page, such as http://10.0.0.7:8080/metrics; repeat it for "
        "each node.",
        ENDPOINT,
        show_default="the nodes of the service that runs here",
    ),
]
EveryS = Annotated[
    float,
    number("--every-s", Limits(0.5, 3600.0, "seconds"), "Between two looks.", REPORT),
]
Once = Annotated[
    bool,
    typer.Option(
        "--once",
        help="Print it once and end, as is done where the output is no terminal.",
        rich_help_panel=REPORT,
    ),
]
