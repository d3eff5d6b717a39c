"""Fields that cannot be honoured, as an engine gets them."""

import pytest

from qoe import Expectation
from scheduler.unfit import complaint

DEFAULT = Expectation(1.0, 5.0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"qoe_tds": "fast"}, "qoe_tds='fast' is invalid: it must be a number from"),
        ({"qoe_weight": 1e9}, "qoe_weight=1000000000.0 is invalid"),
        ({"qoe_speed": 1}, "qoe_speed=1 is invalid: it must be one of the fields"),
        ({"qoe_age_s": -1}, "qoe_age_s=-1 is invalid"),
        ({"qoe_share": 0}, "qoe_share=0 is invalid"),
        ({"qoe_resume_token_ids": "7"}, "qoe_resume_token_ids='7' is invalid"),
    ],
    ids=str,
)
def test_a_bad_field_is_named_with_its_value(fields, said) -> None:
    told = complaint(fields, [1, 2, 3], DEFAULT)
    assert told is not None
    assert told.startswith(said)


@pytest.mark.parametrize("prompt", [[1, 2, 3], [8, 9, 1], [9], [], None], ids=str)
def test_an_answer_that_nobody_goes_on_with_is_refused(prompt) -> None:
    told = complaint({"qoe_resume_token_ids": [8, 9]}, prompt, DEFAULT)
    assert told is not None
    assert told.startswith("qoe_resume_token_ids with 2 tokens is refused")


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        (None, [1]),
        ({}, None),
        ({"theirs": "x"}, [1]),
        ({"qoe_tds": 7, "qoe_ttft_s": 2.0}, [1]),
        # The server has put them behind the prompt.
        ({"qoe_resume_token_ids": [8, 9]}, [1, 8, 9]),
        ({"qoe_resume_token_ids": []}, [1]),
    ],
    ids=str,
)
def test_what_can_be_honoured_is_no_reason_to_complain(fields, prompt) -> None:
    assert complaint(fields, prompt, DEFAULT) is None
