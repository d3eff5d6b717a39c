"""How much engine time preemptions cost and may cost: what bounds the throughput lost."""

from __future__ import annotations

# Weight of the newest resume in what is expected of the next.
RESUME_WEIGHT = 0.05


class RebuildBudget:
    """Seconds of prefill that rebuilding preempted streams may take.

    While streams wait, every engine second is somebody's, and only `share` of the time is
    saved up; while nobody waits the engine has time to spare. Preemptions that keep a
    promise may overdraw it; then no new reader displaces anyone.

    Args:
        share: Part of the time that may go into rebuilding while streams wait.
        max_saved_s: What may be saved up in calm times, for the onset of a burst.

    Attributes:
        computed_share: Part of a resumed stream's tokens that is computed again; the rest
            still lies in the prefix cache. Learned from the resumes so far, 1 before.
    """

    def __init__(self, share: float, max_saved_s: float) -> None:
        self._share = share
        self._max_saved_s = max_saved_s
        self._saved_s = max_saved_s
        self._at_s: float | None = None
        self.computed_share = 1.0

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
        """Note a preemption whose rebuild takes `rebuild_s` without a prefix cache."""
        self._saved_s -= rebuild_s * self.computed_share

    def resumed(self, cached_tokens: int, tokens: int) -> None:
        """Learn from a stream that came back and found some of its KV still there."""
        computed = 1.0 - cached_tokens / tokens
        self.computed_share += RESUME_WEIGHT * (computed - self.computed_share)
