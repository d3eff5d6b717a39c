"""`andes top`: the fleet on a terminal, from its metrics pages."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

import httpx
from rich.console import Console
from rich.live import Live

from bench.endpoint import connection_problem
from bench.errors import UserError
from bench.top.page import Fleet, read_fleet
from bench.top.view import View

TIMEOUT_S = 10.0
# Ray passes on what replicas tell it every 10 s: seen over less, ten seconds' tokens would
# look as if they had come in one.
WINDOW_S = 20.0


class Pages:
    """Reads the metrics pages of a fleet, and remembers a little.

    Args:
        urls: One for each Ray node.
        now_s: A monotonic clock.
    """

    def __init__(
        self, urls: Sequence[str], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._urls, self._now_s = urls, now_s
        self._history: deque[tuple[float, Fleet]] = deque()
        self._client = httpx.Client(timeout=TIMEOUT_S, trust_env=False)

    def look(self) -> View:
        """The fleet now, beside what it was some 20 s ago, once that is known.

        Raises:
            UserError: A page does not answer, or is none, or no engine is on it.
        """
        fleet = read_fleet_of(self._urls, self._client)
        if not fleet.replicas:
            raise UserError(
                f"{', '.join(self._urls)}: no replica of Andes is on it yet.", exit_code=1
            )
        at_s = self._now_s()
        self._history.append((at_s, fleet))
        while len(self._history) > 2 and at_s - self._history[1][0] >= WINDOW_S:
            self._history.popleft()
        before_s, before = self._history[0]
        if at_s - before_s < WINDOW_S:
            return View(fleet)
        return View(fleet, before, at_s - before_s)

    def last(self, notice: str) -> View | None:
        """What was seen last, with a word about why it is not newer."""
        return View(self._history[-1][1], notice=notice) if self._history else None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def read_fleet_of(urls: Sequence[str], client: httpx.Client) -> Fleet:
    """What the pages at `urls` say.

    Raises:
        UserError: One does not answer, or is no page of metrics.
    """
    pages = []
    for url in urls:
        try:
            answer = client.get(url)
            answer.raise_for_status()
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise UserError(f"{url} answers HTTP {status}.", exit_code=1) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problem = connection_problem(_root(error))
            raise UserError(f"no answer from {url}: {problem}.", exit_code=1) from error
        pages.append(answer.text)
    try:
        return read_fleet(pages)
    except ValueError as error:
        raise UserError(
            f"{', '.join(urls)}: not a page of metrics ({error}).", exit_code=1
        ) from error


def _root(error: BaseException) -> BaseException:
    """What the system said, below what each library made of it."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def run_top(urls: Sequence[str], every_s: float, *, once: bool) -> None:
    """Show the fleet until Ctrl-C, or once.

    Raises:
        UserError: Nothing answers at the first look; later ones are shown and tried again.
    """
    console = Console()
    pages = Pages(urls)
    try:
        first = pages.look()
        if once or not console.is_terminal:
            console.print(first)
            return
        with Live(first, console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(every_s)
                live.update(_next(pages), refresh=True)
    except KeyboardInterrupt:
        # How one leaves it.
        return
    finally:
        pages.close()


def _next(pages: Pages) -> View:
    try:
        return pages.look()
    except UserError as error:
        view = pages.last(str(error))
        assert view is not None, "there was a first look"
        return view
