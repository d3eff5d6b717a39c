import json

import pytest

from pacer import vectors

CASES = json.loads(vectors.PATH.read_text("utf-8"))


def name(case: vectors.Case) -> str:
    return str(case["name"])


@pytest.mark.parametrize("case", CASES, ids=name)
def test_what_is_shown_agrees_to_a_millisecond(case: vectors.Case) -> None:
    played = vectors.play({key: case[key] for key in ("name", "options", "events")})
    assert [entry["text"] for entry in played["shown"]] == [
        entry["text"] for entry in case["shown"]
    ]
    for now, then in (
        ([entry["t"] for entry in played["shown"]], [e["t"] for e in case["shown"]]),
        (played["log"]["delivered"], case["log"]["delivered"]),
        (played["log"]["shown"], case["log"]["shown"]),
    ):
        assert now == pytest.approx(then, abs=vectors.SAME_S)
    assert played["qoe"] == pytest.approx(case["qoe"], abs=0.001)


@pytest.mark.parametrize("case", CASES, ids=name)
def test_every_case_shows_the_text_that_came(case: vectors.Case) -> None:
    came = "".join(e["text"] for e in case["events"] if e["type"] == "delta")
    assert "".join(entry["text"] for entry in case["shown"]) == came
    assert len(case["log"]["shown"]) == len(case["log"]["delivered"])


def test_the_file_is_what_the_script_writes() -> None:
    assert vectors.replayed(CASES) == vectors.PATH.read_text("utf-8")


def test_names_tell_the_cases_apart() -> None:
    assert len({name(case) for case in CASES}) == len(CASES)
