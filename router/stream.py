"""A stream to be placed, and what a router makes of its request."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from qoe import Expectation, is_sheddable, reader_or_default
from qoe.forecast import Floats
from router.affinity import BLOCK_TOKENS, PrefixMap, prefix_keys
from router.cost import Ask
from router.demand import DEFAULT_SIZE, Size, estimate_size
from router.ledger import Replica
from router.request_fields import body_field, reader_fields
from router.settings import RouterSettings
from telemetry.report import request_key


class Stream(NamedTuple):
    """The request to place.

    What is None is found in the body, or guessed.

    Attributes:
        request_id: Serve's internal id: the same for all attempts of a request.
        attempt: What tells an attempt from its retry.
        body: The OpenAI request, in whatever form it came.
        request_key: What reports call the request; `telemetry.report.request_key` of the
            id that its engine knows it by. None: of `request_id`.
        expectation: What its reader expects.
        prompt_tokens: Of its prompt.
        output_tokens: Expected length of its answer.
        session_id: Of the conversation it belongs to; empty for none.
    """

    request_id: str
    attempt: Hashable
    body: object
    request_key: int | None = None
    expectation: Expectation | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    session_id: str = ""

    @property
    def key(self) -> int:
        if self.request_key is None:
            return request_key(self.request_id)
        return self.request_key


class Reading(NamedTuple):
    """A stream as it was read.

    Attributes:
        ask: What policies see of it.
        prefix: Keys of the whole blocks that its prompt begins with.
        is_sheddable: Whether it would rather be refused than be served badly.
    """

    ask: Ask
    prefix: Sequence[int]
    is_sheddable: bool


class RequestReader:
    """Reads requests; nothing that a client sends makes it raise.

    Args:
        settings: Of the router.
        uses_prefixes: Whether it matters who has computed the beginning of a prompt.
    """

    def __init__(self, settings: RouterSettings, *, uses_prefixes: bool) -> None:
        self._default = settings.default_expectation
        self._chars_per_token = settings.chars_per_token
        self._precision = settings.prefix_precision if uses_prefixes else 0.0
        self.prefixes = PrefixMap()

    def read(
        self, stream: Stream | None, replicas: Sequence[Replica], mean_output_tokens: float
    ) -> Reading:
        """What `stream` asks of each of `replicas`; one of the default size for None."""
        if stream is None:
            return Reading(_ask(DEFAULT_SIZE, 0.0, self._default), (), False)
        size = self._size(stream, mean_output_tokens)
        fields = reader_fields(stream.body)
        prefix = prefix_keys(stream.body) if self._precision else ()
        cached: Floats | float = 0.0
        if prefix:
            cached = self.prefixes.cached_blocks(prefix, replicas)
            cached = cached * (BLOCK_TOKENS * self._precision)
        ask = _ask(size, cached, stream.expectation or self._reader_of(stream.body, fields))
        return Reading(ask, prefix, is_sheddable(fields))

    def _reader_of(self, body: object, fields: Mapping[str, object]) -> Expectation:
        is_stream = body_field(body, "stream") is True
        return reader_or_default(fields, self._default, is_stream=is_stream)

    def _size(self, stream: Stream, mean_output_tokens: float) -> Size:
        prompt_tokens, output_tokens = stream.prompt_tokens, stream.output_tokens
        if prompt_tokens is not None and output_tokens is not None:
            return Size(prompt_tokens, output_tokens)
        size = estimate_size(
            stream.body,
            mean_output_tokens=mean_output_tokens,
            chars_per_token=self._chars_per_token,
        )
        if prompt_tokens is not None:
            return size._replace(prompt_tokens=prompt_tokens)
        if output_tokens is not None:
            return size._replace(output_tokens=output_tokens)
        return size


def _ask(size: Size, cached_tokens: Floats | float, expectation: Expectation) -> Ask:
    return Ask(
        prompt_tokens=size.prompt_tokens,
        output_tokens=max(1, math.ceil(size.output_tokens)),
        demand_tokens=max(1, size.demand_tokens),
        cached_tokens=cached_tokens,
        expectation=expectation,
    )
