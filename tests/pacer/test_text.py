from collections.abc import Iterator

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from pacer.text import MAX_WORD, Text

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
# What goes wrong first: accents, halves of flags, joiners, tones, keycaps, jamo, tags.
CHARACTERS = st.one_of(
    st.sampled_from(
        [
            *"abe 1#\n\r\u0301\u0323\u200d\ufe0f\u20e3",
            *"\u0e01\u0e33\u0915\u093f\u1100\u1161\u11a8",
            "\U0001f1eb",
            "\U0001f1f7",
            "\U0001f44d",
            "\U0001f3fd",
            "\u2764",
        ]
    ),
    st.characters(codec="utf-8"),
)
DELTAS = st.lists(st.text(CHARACTERS, min_size=1, max_size=4), min_size=1, max_size=20)


def taken(text: Text, deltas: list[str]) -> Iterator[str]:
    """What each delta lets go of, and then the end."""
    for i, delta in enumerate(deltas):
        text.push(0.1 * i, delta, [i] * len(delta))
        text.settle(0.1 * i)
        yield text.take(i + 1)
    text.end()
    yield text.take(len(deltas))


@settings(deadline=None)
@given(deltas=DELTAS, whole_words=st.booleans(), hold_s=st.sampled_from([0.0, 0.05, 9.0]))
def test_nothing_is_lost_or_reordered(
    deltas: list[str], whole_words: bool, hold_s: float
) -> None:
    text = Text(whole_words=whole_words, hold_s=hold_s)
    assert "".join(taken(text, deltas)) == "".join(deltas)
    assert text.first_hidden is None


@settings(deadline=None)
@given(deltas=DELTAS, whole_words=st.booleans())
def test_no_character_is_ever_split(deltas: list[str], whole_words: bool) -> None:
    ends = {0}
    for cluster in regex.findall(r"\X", "".join(deltas)):
        ends.add(max(ends) + len(cluster))
    shown = 0
    for text in taken(Text(whole_words=whole_words, hold_s=9.0), deltas):
        shown += len(text)
        assert shown in ends


@settings(deadline=None)
@given(
    words=st.lists(st.text("abc\u0301", min_size=1, max_size=12), min_size=1, max_size=9)
)
def test_no_word_is_ever_split(words: list[str]) -> None:
    whole = " ".join(words)
    shown = ""
    for text in taken(Text(whole_words=True, hold_s=0.0), list(whole)):
        shown += text
        assert not shown or shown == whole or shown[-1] == " " or whole[len(shown)] == " "


@pytest.mark.parametrize(
    "half",
    [FAMILY[:1], FAMILY[:2], FAMILY[:4], "\U0001f1eb", "\r", "\u1100", "a\u200d", "\ud83d"],
    ids=ascii,
)
def test_what_often_goes_on_waits_however_long(half: str) -> None:
    text = Text(whole_words=False, hold_s=0.1)
    text.push(0.0, half, [0] * len(half))
    assert text.settles_at_s is None
    text.settle(1e6)
    assert text.take(1) == ""


@pytest.mark.parametrize(
    "whole", ["a", "\u6f22", "\U0001f1eb\U0001f1f7", " ", "\uac00", "."]
)
def test_what_is_likely_whole_waits_for_a_moment(whole: str) -> None:
    text = Text(whole_words=False, hold_s=0.1)
    text.push(1.0, whole, [0] * len(whole))
    text.settle(1.05)
    assert text.take(1) == ""
    text.settle(1.1)
    assert text.take(1) == whole


def test_a_cluster_over_two_tokens_waits_for_the_second() -> None:
    text = Text(whole_words=False, hold_s=0.1)
    text.push(0.0, "e", [0])
    text.push(0.0, "\u0301", [1])
    text.end()
    assert (text.take(1), text.first_hidden) == ("", 0)
    assert text.take(2) == "e\u0301"


def test_a_run_without_spaces_is_let_through() -> None:
    text = Text(whole_words=True, hold_s=0.1)
    text.push(0.0, "x" * (MAX_WORD + 2), [0] * (MAX_WORD + 2))
    assert text.take(1) == "x" * MAX_WORD


def test_the_halves_of_a_character_are_shown_together() -> None:
    """A service that cuts UTF-16 sends them; alone neither can be printed."""
    text = Text(whole_words=False, hold_s=0.0)
    text.push(0.0, "a\ud83d", [0, 1])
    text.settle(1.0)
    assert text.take(2) == "a"
    text.push(2.0, "\ude00", [1])
    text.end()
    assert text.take(2) == "\ud83d\ude00"


def test_text_of_a_token_that_is_out_is_shown_as_it_comes() -> None:
    text = Text(whole_words=False, hold_s=0.0)
    text.push(0.0, "ab", [0, 0])
    text.settle(0.0)
    assert text.take(1) == "ab"
    text.push(1.0, "c", [0])
    text.settle(1.0)
    assert text.take(1) == "c"
