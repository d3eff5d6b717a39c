"""Who waits in vain is told so, and nobody else."""

import pytest

from scheduler.patience import Patience, full_refusal, retry_after_of, retry_after_s


def waits(*rows: tuple[str, float, float, int]) -> Patience:
    patience = Patience()
    for row in rows:
        patience.begin(*row)
    return patience


def whole_prompt(patience: Patience) -> object:
    return lambda name: patience._waits[name].prompt_tokens


def test_a_stream_is_refused_when_its_patience_ends_and_not_before() -> None:
    patience = waits(("a", 5.0, 10.0, 100))
    assert patience.in_vain(14.99, 0.0, whole_prompt(patience)) == []
    assert patience.in_vain(15.0, 0.0, whole_prompt(patience)) == ["a"]


def test_a_stream_is_refused_as_soon_as_its_own_prompt_takes_longer() -> None:
    patience = waits(("long", 5.0, 10.0, 6000), ("short", 5.0, 10.0, 10))
    assert patience.in_vain(10.0, 1e-3, whole_prompt(patience)) == ["long"]
    # What is computed already takes no time.
    assert patience.in_vain(10.0, 1e-3, lambda name: 1000) == []
    assert patience.in_vain(14.0, 1e-3, lambda name: 1000) == ["long"]


def test_what_a_prompt_has_left_is_asked_of_those_alone_for_whom_it_matters() -> None:
    patience = waits(("early", 100.0, 0.0, 10), ("over", 1.0, 0.0, 10))
    asked: list[str] = []
    assert patience.in_vain(2.0, 1e-3, lambda name: asked.append(name) or 0) == ["over"]
    assert asked == []


def test_a_stream_that_has_begun_is_never_refused_and_leaves_nothing() -> None:
    patience = waits(("a", 1.0, 0.0, 10))
    patience.end("a")
    patience.end("a")
    assert patience.in_vain(100.0, 1.0, whole_prompt(patience)) == []
    assert not len(patience)


@pytest.mark.parametrize("patience_s", [5.0, 0.25])
def test_a_refusal_says_what_was_asked_why_and_when_to_come_again(patience_s) -> None:
    said = waits(("a", patience_s, 0.0, 10)).refusal("a", 7)
    assert said == (
        f"qoe_patience_s={patience_s:g}: no first token could come within {patience_s:g} "
        "s; the engine is overloaded; try again in 7 s."
    )
    assert retry_after_of(said) == 7


def test_a_full_engine_says_so_and_when_to_come_again() -> None:
    said = full_refusal("9 requests", 7)
    assert said == "The engine is full: it takes 9 requests at a time; try again in 7 s."
    assert retry_after_of(said) == 7


@pytest.mark.parametrize(
    "text",
    [
        None,
        7,
        "the engine is overloaded; try again in 7 s.",
        "qoe_patience_s=-1 is invalid: it must be a number from 0.01 to 3600 seconds.",
    ],
)
def test_nothing_else_is_taken_for_a_refusal(text: object) -> None:
    assert retry_after_of(text) is None


@pytest.mark.parametrize(
    ("load", "expected_s"),
    [
        ((40, 200.0, 1000.0), 8),
        ((41, 200.0, 1000.0), 9),
        ((0, 200.0, 1000.0), 1),
        ((10_000, 200.0, 1000.0), 60),
        ((40, 0.0, 1000.0), 5),
        ((40, 200.0, 0.0), 5),
    ],
)
def test_a_refused_client_comes_again_when_what_waits_has_been_written(
    load, expected_s
) -> None:
    assert retry_after_s(*load) == expected_s
