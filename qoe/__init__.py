"""What a reader experiences: expectation, digestion, score and forecast. Pure numpy."""

from qoe.expectation import PROFILES, Expectation, ExpectationError, Profile
from qoe.fields import expectation_or_default, is_sheddable, parse_expectation
from qoe.metrics import area_qoe, delay_qoe, stall_s
from qoe.stream_table import StreamTable

__all__ = [
    "PROFILES",
    "Expectation",
    "ExpectationError",
    "Profile",
    "StreamTable",
    "area_qoe",
    "delay_qoe",
    "expectation_or_default",
    "is_sheddable",
    "parse_expectation",
    "stall_s",
]
