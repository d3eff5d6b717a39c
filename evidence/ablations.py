"""The policy without one of its parts, and the curve of its one setting.

A part is taken out by a setting, or by a subclass of the policy that overrides it.
"""

from __future__ import annotations

from typing import NamedTuple


class Ablation(NamedTuple):
    """The policy without one part.

    Attributes:
        title: The part.
        policy: As `SchedulerSettings.policy` has it.
        settings: Overridden fields of its settings.
    """

    title: str
    policy: str = "andes"
    settings: tuple[tuple[str, str], ...] = ()


class Curve(NamedTuple):
    """Values of one setting; nothing is run where the settings do not have it."""

    setting: str
    values: tuple[str, ...]


ABLATIONS = (
    Ablation("worth: in order of arrival", "evidence.ablated:WithoutWorth"),
    Ablation("QoE in worth: by cost alone", "evidence.ablated:WithoutForecast"),
    Ablation("in time before late", "evidence.ablated:WithoutLateness"),
    Ablation("swaps", "evidence.ablated:WithoutSwaps"),
    Ablation("price of a resume", settings=(("max_throughput_loss", "10"),)),
    Ablation("limit on prompts in a step", "evidence.ablated:WithoutPrefillLimit"),
)
CURVE = Curve("max_throughput_loss", ("0.05", "0.1", "0.2", "0.3", "0.5", "1"))
