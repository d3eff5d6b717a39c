"""The reader's side of a stream: its text, at the pace it is read at.

stream = await client.chat.completions.create(..., stream=True)
async for text in paced(stream, profile="reading"):
    print(text, end="", flush=True)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

from pacer.breaks import Received, Resume, Stream
from pacer.chunks import StreamBroken
from pacer.page import Log, Options, Qoe, Showing
from pacer.stream import Pacer
from qoe import PROFILES, Expectation, ExpectationError

__all__ = [
    "ExpectationError",
    "Log",
    "Options",
    "Pacer",
    "Qoe",
    "Received",
    "Showing",
    "StreamBroken",
    "paced",
]


def paced(
    stream: Stream,
    *,
    profile: str = "reading",
    tds: float | None = None,
    ttft_s: float | None = None,
    resume: Resume | None = None,
    on_reasoning: Callable[[str], None] | None = None,
    on_tool_calls: Callable[[Sequence[Any]], None] | None = None,
    started_at_s: float | None = None,
    **showing: Unpack[Showing],
) -> Pacer:
    """The text of `stream` at its reader's pace; call it inside a running event loop.

    The first token is shown at once and the others at the pace; after a stall faster, until
    the reader is where they would have been. It goes on at the pace when the stream has
    ended; `skip_to_end()` shows the rest at once.

    Times are kept in tokens: those that a chunk names (`token_ids`, `logprobs`, `usage`),
    else what its text is worth. Of several choices number 0 is shown. Reasoning and calls
    of tools are not shown, and not waited for: the pace begins with the first text.

    When a service or a connection fails, what came is shown, and then the error is raised.
    With `resume`, the rest is asked for first, up to three times in a row.

    Args:
        stream: An async iterable of text, or of chunks of chat completions or completions,
            as objects or parsed JSON; or an awaitable of one, such as
            `client.chat.completions.create(..., stream=True)`.
        profile: `reading`, `listening`, or `none` for text as it comes.
        tds: The pace in tokens/s, instead of the profile's.
        ttft_s: Expected seconds to the first token, instead of the profile's; for `qoe`.
        resume: Called with what was `Received`; gives a stream of the rest.
        on_reasoning: Called with every piece of hidden reasoning, as it comes.
        on_tool_calls: Called with the `tool_calls` of every chunk that has some, as they
            come.
        started_at_s: When the request was sent, on the loop's clock; now, if missing.
        showing: `catch_up` (1.5 times the pace), `at_end` ("pace" or "flush"),
            `whole_words` (false), `hold_s` (0.1); see `Options`.

    Raises:
        ExpectationError: The profile is unknown, or a number is out of range.
        ValueError: `at_end` is neither.
    """
    options = Options(
        _expectation(profile, tds, ttft_s),
        is_paced=profile != "none" or tds is not None,
        **showing,
    )
    return Pacer(
        stream,
        options,
        resume=resume,
        on_reasoning=on_reasoning,
        on_tool_calls=on_tool_calls,
        started_at_s=started_at_s,
    )


def _expectation(profile: str, tds: float | None, ttft_s: float | None) -> Expectation:
    if profile not in PROFILES:
        raise ExpectationError("profile", profile, f"one of {', '.join(PROFILES)}")
    expected = PROFILES[profile].expectation
    return Expectation(
        expected.ttft_s if ttft_s is None else ttft_s,
        expected.tds if tds is None else tds,
    )
