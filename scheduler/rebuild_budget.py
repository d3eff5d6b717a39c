"""How much engine time preemptions cost and may cost: what bounds the throughput lost."""

from __future__ import annotations

from scheduler.settings import SchedulerSettings

# Weight of the newest resume in what is expected of the next.
RESUME_WEIGHT = 0.05


class RebuildBudget:
    """Seconds of prefill that rebuilding preempted streams may take.

    While streams wait, every engine second is somebody's: `rebuild_share` of the time is
    saved up, or up to `max_rebuild_share` as far as the token rate is not promised to
    anybody. Then memory is what is short, and there are tokens to pay for it. While nobody
    waits the engine has time to spare, and saves up to `rebuild_saved_s` for the onset of a
    burst. Preemptions that keep a promise may overdraw it; then no new reader displaces
    anyone.

    Attributes:
        computed_share: Part of a resumed stream's tokens that is computed again; the rest
            still lies in the prefix cache. Learned from the resumes so far, 1 before.
        resumes_total: Streams that came back,
        recomputed_tokens_total: and tokens of them that were computed again.
    """

    def __init__(self, settings: SchedulerSettings) -> None:
        self._settings = settings
        self._saved_s = settings.rebuild_saved_s
        self._at_s: float | None = None
        self.computed_share = 1.0
        self.resumes_total = 0
        self.recomputed_tokens_total = 0

    @property
    def left_s(self) -> float:
        """Seconds that may be spent now; negative when overdrawn."""
        return self._saved_s

    def pass_time(
        self,
        now_s: float,
        someone_waits: bool,
        promised_tokens_per_s: float,
        tokens_per_s: float,
    ) -> None:
        """Save up for the time since the last call.

        Args:
            now_s: Time of this call.
            someone_waits: Whether streams have waited since the last one.
            promised_tokens_per_s: What readers who have begun are to get.
            tokens_per_s: What the engine brings; 0 before its first step.
        """
        settings = self._settings
        elapsed_s = now_s - self._at_s if self._at_s is not None else 0.0
        self._at_s = now_s
        share = 1.0
        if someone_waits:
            promisable_per_s = settings.promise_share * tokens_per_s
            spare_per_s = promisable_per_s - promised_tokens_per_s
            share = spare_per_s / promisable_per_s if spare_per_s > 0.0 else 0.0
            share = max(settings.rebuild_share, min(share, settings.max_rebuild_share))
        gained_s = elapsed_s * share
        self._saved_s = min(self._saved_s + gained_s, settings.rebuild_saved_s)

    def spend(self, rebuild_s: float) -> None:
        """Note a preemption whose rebuild takes `rebuild_s` without a prefix cache."""
        self._saved_s -= rebuild_s * self.computed_share

    def resumed(self, cached_tokens: int, tokens: int) -> None:
        """Learn from a stream that came back and found some of its KV still there."""
        self.resumes_total += 1
        self.recomputed_tokens_total += tokens - cached_tokens
        computed = 1.0 - cached_tokens / tokens
        self.computed_share += RESUME_WEIGHT * (computed - self.computed_share)
