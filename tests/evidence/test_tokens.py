import pytest

pytest.importorskip("mistral_common")

from evidence.tokens import TEXTS, measure, tokens_of


@pytest.mark.parametrize("name", TEXTS)
def test_no_estimate_is_a_fifth_off_what_a_tokenizer_writes(name: str) -> None:
    measured = measure(name)
    assert 0.8 <= measured.whole <= 1.2
    assert 0.8 <= measured.eights <= 1.2
    assert 0.9 <= measured.ones <= 1.1


@pytest.mark.parametrize("name", TEXTS)
def test_the_pieces_are_the_text(name: str) -> None:
    assert "".join(tokens_of(TEXTS[name])) == TEXTS[name]
