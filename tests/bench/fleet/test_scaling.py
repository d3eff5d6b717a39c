import pytest

from bench.errors import UserError
from bench.fleet.arguments import Fleet, take_fleet
from bench.fleet.scaling import Scaling, parse_scaling


@pytest.mark.parametrize(
    ("text", "scaling"),
    [
        ("qoe", Scaling("qoe")),
        ("ongoing", Scaling("ongoing")),
        (
            "ongoing, target_ongoing_requests=40,upscale_delay_s = 0",
            Scaling(
                "ongoing", (("target_ongoing_requests", "40"), ("upscale_delay_s", "0"))
            ),
        ),
    ],
)
def test_an_autoscaler_is_spelled_by_its_name_and_its_settings(text, scaling) -> None:
    assert parse_scaling("--autoscale", text) == scaling
    assert parse_scaling("--autoscale", scaling.label) == scaling


@pytest.mark.parametrize("text", ["", "cpu", "qoe,work_share", "qoe,=1"])
def test_what_is_no_autoscaler_is_refused_in_one_sentence(text) -> None:
    with pytest.raises(UserError, match=r"--autoscale .* must be NAME or NAME,KEY=VALUE"):
        parse_scaling("--autoscale", text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_replicas": 5, "max_replicas": 4}, "--max-replicas=4 is invalid"),
        ({"replicas": 9}, "--replicas=9 is invalid: with --autoscale it must be from"),
        ({"replicas": 1, "min_replicas": 2}, "--replicas=1 is invalid"),
    ],
)
def test_a_fleet_starts_within_its_bounds(options, message) -> None:
    with pytest.raises(UserError, match=message):
        Fleet(**{"replicas": 2, "autoscale": (Scaling("qoe"),)} | options)


def test_options_of_autoscaling_need_an_autoscaler() -> None:
    given = {"replicas": 2, "startup_s": 5.0, "autoscale": None}
    with pytest.raises(UserError, match="--startup-s has no effect without --autoscale"):
        take_fleet(given)
    with pytest.raises(UserError, match="--autoscale has no effect without --replicas"):
        take_fleet({"autoscale": [Scaling("qoe")]})
