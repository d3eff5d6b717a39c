"""Tokens that nobody counts: as many as there are, however the text is cut."""

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pacer.page import Options, Page
from pacer.tokens import Tokens

# 57 tokens of Tekken: `python -m evidence.tokens` has the whole page.
PROSE = (
    "The Mole had been working very hard all the morning, spring-cleaning his little home. "
    "Spring was moving in the air above and in the earth below and around him, penetrating "
    "even his dark and lowly little house with its spirit of divine discontent and longing."
)
TEKKEN = 57
TEXTS = st.text(
    st.one_of(st.sampled_from("ab 漢のé1.\n👍"), st.characters(codec="utf-8")),
    min_size=1,
    max_size=30,
)
DELTAS = st.lists(st.tuples(TEXTS, st.one_of(st.none(), st.integers(1, 9))), max_size=20)


def cut(text: str, size: int) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text), size)]


def count(deltas: list[str]) -> int:
    tokens = Tokens()
    for delta in deltas:
        tokens.place(delta)
    return tokens.begun


@given(deltas=DELTAS)
def test_every_code_point_has_its_token_and_none_goes_back(
    deltas: list[tuple[str, int | None]],
) -> None:
    tokens, last = Tokens(), 0
    for text, counted in deltas:
        before = tokens.begun
        places = tokens.place(text, counted)
        assert len(places) == len(text)
        assert [last, *places] == sorted([last, *places])
        last = places[-1]
        assert last < tokens.begun
        if counted is not None:
            assert places[0] == before
            assert tokens.begun == before + counted


@given(sizes=st.lists(st.integers(12, 80), min_size=1))
def test_where_text_is_cut_changes_nothing(sizes: list[int]) -> None:
    text = PROSE * 4
    whole, parts = Tokens(), Tokens()
    places: list[int] = []
    at = 0
    for size in [*sizes, len(text)]:
        if piece := text[at : at + size]:
            places += parts.place(piece)
        at += size
    assert places == whole.place(text)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 20, 100, 4000])
def test_prose_is_as_many_tokens_however_it_is_cut(size: int) -> None:
    assert 0.85 <= count(cut(PROSE * 8, size)) / (8 * TEKKEN) <= 1.2


def test_prose_by_words_is_about_as_many() -> None:
    """A service that smooths sends words: three of them are four tokens."""
    for deltas in (
        [f"{word} " for word in (PROSE * 8).split(" ")],
        [f" {word}" for word in (PROSE * 8).split(" ")],
    ):
        assert 0.75 <= count(deltas) / (8 * TEKKEN) <= 1.2


def test_deltas_that_look_like_tokens_are_tokens() -> None:
    letters = random.Random(0)
    deltas = [letters.choice(" abcdefghijklmnopqrstuvwxyz") for _ in range(1000)]
    assert 900 <= count(deltas) <= 1000


def test_a_few_deltas_of_several_tokens_are_worth_those_around_them() -> None:
    tokens = Tokens()
    for _ in range(20):
        for delta in [" ab", " ei", " ou", "."]:
            tokens.place(delta)
    before = tokens.begun
    tokens.place(" ab ei. ou ab. ei ou.")
    # By the prior alone it is six.
    assert 7 <= tokens.begun - before <= 9


def test_counted_tokens_teach_what_others_of_their_script_are_worth() -> None:
    prior, taught, elsewhere = Tokens(), Tokens(), Tokens()
    taught.place("слово за словом и так далее до конца " * 9, 333)
    elsewhere.place("word by word, and so on until the end " * 9, 333)
    text = "другие слова другого ответа"
    added = []
    for tokens in (prior, taught, elsewhere):
        before = tokens.begun
        tokens.place(text)
        added.append(tokens.begun - before)
    assert added[0] * 2 < added[1]
    assert added[2] == pytest.approx(added[0], abs=1)


@pytest.mark.parametrize("size", [1, 5, 40, 20_000])
def test_what_is_kept_of_text_that_was_shown_is_a_few_numbers_a_token(size: int) -> None:
    page = Page(Options())
    tracemalloc.start()
    try:
        for delta in cut(PROSE * 50, size):
            page.push(0.0, delta)
            page.flush(0.0)
            page.look(0.0)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept <= 200 * len(page.log.shown_at_s) + 50_000


def test_text_that_waits_takes_memory_by_its_tokens_and_not_by_its_letters() -> None:
    page = Page(Options())
    tracemalloc.start()
    try:
        page.push(0.0, PROSE * 50)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept <= 500 * page.tokens_left
