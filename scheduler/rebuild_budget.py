"""How much engine time preemptions may cost: what bounds the throughput they lose."""

from __future__ import annotations


class RebuildBudget:
    """Seconds of prefill that rebuilding preempted streams may take.

    While streams wait, every engine second is somebody's, and only `share` of the time is
    saved up; while nobody waits the engine has time to spare. Preemptions that keep a
    promise may overdraw it; then no new reader displaces anyone.

    Args:
        share: Part of the time that may go into rebuilding while streams wait.
        max_saved_s: What may be saved up in calm times, for the onset of a burst.
    """

    def __init__(self, share: float, max_saved_s: float) -> None:
        self._share = share
        self._max_saved_s = max_saved_s
        self._saved_s = max_saved_s
        self._at_s: float | None = None

    @property
    def left_s(self) -> float:
        """Seconds that may be spent now; negative when overdrawn."""
        return self._saved_s

    def pass_time(self, now_s: float, someone_waits: bool) -> None:
        """Save up for the time since the last call."""
        elapsed_s = now_s - self._at_s if self._at_s is not None else 0.0
        self._at_s = now_s
        gained_s = elapsed_s * (self._share if someone_waits else 1.0)
        self._saved_s = min(self._saved_s + gained_s, self._max_saved_s)

    def spend(self, rebuild_s: float) -> None:
        """Note a preemption whose rebuild takes `rebuild_s`."""
        self._saved_s -= rebuild_s
