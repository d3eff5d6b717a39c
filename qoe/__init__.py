"""What a reader experiences: expectation, digestion, score and forecast. Pure numpy."""

from qoe.caps import Caps, admit
from qoe.expectation import PROFILES, Expectation, ExpectationError, Profile
from qoe.feedback import Feedback, parse_feedback
from qoe.fields import (
    expectation_or_default,
    is_sheddable,
    parse_expectation,
    parse_progress,
    progress_or_fresh,
    reader_or_default,
    resumed_token_ids,
)
from qoe.metrics import area_qoe, delay_qoe, stall_s
from qoe.progress import FRESH, Progress
from qoe.stream_table import StreamTable

__all__ = [
    "FRESH",
    "PROFILES",
    "Caps",
    "Expectation",
    "ExpectationError",
    "Feedback",
    "Profile",
    "Progress",
    "StreamTable",
    "admit",
    "area_qoe",
    "delay_qoe",
    "expectation_or_default",
    "is_sheddable",
    "parse_expectation",
    "parse_feedback",
    "parse_progress",
    "progress_or_fresh",
    "reader_or_default",
    "resumed_token_ids",
    "stall_s",
]
