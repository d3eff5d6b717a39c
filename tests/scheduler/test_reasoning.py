"""Reasoning has no reader: what of a step's tokens is hidden, and what that means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest

from qoe import Expectation
from scheduler.live_streams import LiveStreams
from scheduler.reasoning import PROMPT_TOKENS, RECENT_TOKENS, Reasoning

BEGIN, END, WORD = 1, 2, 3
CHAT = "chatcmpl-5f0c2d3a-1111-4222-8333-444455556666-00aa11bb"
COMPLETION = "cmpl-5f0c2d3a-1111-4222-8333-444455556666-0-00aa11bb"


class Marked:
    """Reasoning between two marks; the second may take two tokens.

    Attributes:
        seen: The longest sequence that it was shown.
    """

    def __init__(self, tokenizer: object = None, end: Sequence[int] = (END,)) -> None:
        self._end = list(end)
        self.seen = 0

    def is_reasoning_end(self, input_ids: Sequence[int]) -> bool:
        self.seen = max(self.seen, len(input_ids))
        ids = list(input_ids)
        return END in ids and (BEGIN not in ids or ids.index(END) > ids.index(BEGIN))

    def is_reasoning_end_streaming(
        self, input_ids: Sequence[int], delta_ids: Iterable[int]
    ) -> bool:
        self.seen = max(self.seen, len(input_ids))
        ids, size = list(input_ids), len(self._end)
        return any(ids[i : i + size] == self._end for i in range(len(ids) - size + 1))


def hidden_of(reasoning: Reasoning, steps: Sequence[Sequence[int]]) -> list[int]:
    """How many tokens of each step are hidden."""
    written: list[int] = []
    counts = []
    for tokens in steps:
        written += tokens
        counts.append(reasoning.num_hidden(CHAT, written, tokens))
    return counts


def reasoning_of(parser: Marked, prompt: Sequence[int] = (WORD,)) -> Reasoning:
    reasoning = Reasoning(parser)
    reasoning.begin(CHAT, prompt)
    return reasoning


@pytest.mark.parametrize(
    ("steps", "hidden"),
    [
        pytest.param([[WORD], [WORD], [END], [WORD]], [1, 1, 1, 0], id="one-token-a-step"),
        pytest.param([[WORD, WORD, END, WORD, WORD], [WORD]], [3, 0], id="several"),
        pytest.param([[WORD, WORD], [], [END, WORD]], [2, 0, 1], id="an-empty-step"),
        pytest.param([[WORD, END]], [2], id="the-mark-is-last"),
    ],
)
def test_tokens_up_to_the_mark_are_hidden_and_none_after_it(steps, hidden) -> None:
    assert hidden_of(reasoning_of(Marked()), steps) == hidden


def test_a_mark_of_several_tokens_may_span_two_steps() -> None:
    reasoning = reasoning_of(Marked(end=(END, BEGIN)))
    assert hidden_of(reasoning, [[WORD, END], [BEGIN, WORD], [WORD]]) == [2, 1, 0]


def test_a_parser_sees_no_more_than_it_needs() -> None:
    parser = Marked()
    reasoning = reasoning_of(parser, [WORD] * 5000)
    assert parser.seen == PROMPT_TOKENS
    hidden_of(reasoning, [[WORD]] * 500)
    assert parser.seen == PROMPT_TOKENS
    parser.seen = 0
    hidden_of(reasoning, [[WORD] * 4] * 50)
    assert parser.seen == RECENT_TOKENS + 4


@pytest.mark.parametrize(
    ("parser", "request_id", "prompt"),
    [
        pytest.param(None, CHAT, [WORD], id="nothing-is-set-apart"),
        pytest.param(Marked(), COMPLETION, [WORD], id="a-completion"),
        pytest.param(Marked(), CHAT, [BEGIN, END], id="the-prompt-has-ended-it"),
    ],
)
def test_other_streams_hide_nothing(parser, request_id, prompt) -> None:
    reasoning = Reasoning(parser)
    reasoning.begin(request_id, prompt)
    assert len(reasoning) == 0
    assert reasoning.num_hidden(request_id, [WORD], [WORD]) == 0


def test_a_stream_that_is_over_is_forgotten() -> None:
    reasoning = reasoning_of(Marked())
    assert len(reasoning) == 1
    reasoning.forget(CHAT)
    reasoning.forget(CHAT)
    assert len(reasoning) == 0


def test_the_parser_is_that_of_the_engine() -> None:
    manager = SimpleNamespace(reasoner_cls=Marked, tokenizer="its tokenizer")
    reasoning = Reasoning.of(manager)
    reasoning.begin(CHAT, [WORD])
    assert len(reasoning) == 1
    assert len(Reasoning.of(None)) == 0


def test_the_first_token_that_is_seen_starts_the_reading() -> None:
    streams = LiveStreams()
    streams.add("a", Expectation(ttft_s=2.0, tds=5.0), 0.0, prompt_tokens=10)
    slot = streams.slots(["a"])
    streams.admitted(["a"], 0.1)
    for now_s in (0.5, 1.0):
        streams.delivered("a", 4, hidden=4)
        streams.flush(now_s)
    readers = streams.readers
    assert readers.delivered_tokens[slot][0] == 0
    assert readers.slack_s(slot, 1.0)[0] == pytest.approx(1.0)
    assert streams.context_tokens(slot)[0] == 18
    assert not streams.is_prefilling[slot][0]
    # One step may write both.
    streams.delivered("a", 5, hidden=2)
    streams.flush(1.5)
    assert readers.slack_s(slot, 1.5)[0] == pytest.approx(3 / 5)
    assert readers.qoe(slot, 1.9)[0] == 1.0
    assert streams.tokens_total == 13
    assert streams.context_tokens(slot)[0] == 23
    streams.remove("a", 2.0)
    assert streams.mean_output_tokens == 13


def test_a_step_of_several_tokens_is_one_delivery_of_them_all() -> None:
    """As speculative decoding makes them."""
    streams = LiveStreams()
    for name in "ab":
        streams.add(name, Expectation(ttft_s=1.0, tds=5.0), 0.0, prompt_tokens=10)
    slots = streams.slots("ab")
    for tokens in (3, 1, 4):
        streams.delivered("a", tokens)
    streams.delivered("b", 8)
    streams.flush(0.5)
    assert np.array_equal(streams.readers.delivered_tokens[slots], [8, 8])
    assert np.array_equal(streams.readers.slack_s(slots, 0.5), [8 / 5, 8 / 5])


def test_an_answer_that_was_all_reasoning_gave_its_reader_nothing() -> None:
    streams = LiveStreams()
    streams.add("a", Expectation(ttft_s=1.0, tds=5.0), 0.0, prompt_tokens=10)
    streams.delivered("a", 7, hidden=7)
    streams.remove("a", 3.0)
    assert streams.tokens_total == 7
    assert streams.mean_output_tokens == 7
