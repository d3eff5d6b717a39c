"""What came of preemptions: how much of a stream is computed again when it resumes."""

from __future__ import annotations

# Weight of the newest resume in what is expected of the next.
_NEWEST = 0.05


class Resumes:
    """Streams that came back to the engine, and what of them had to be computed again.

    Attributes:
        computed_share: Part of a resumed stream's tokens that is computed again; the rest
            still lies in the prefix cache. Learned from the resumes so far, 1 before.
        resumes_total: Streams that came back,
        recomputed_tokens_total: and tokens of them that were computed again.
    """

    def __init__(self) -> None:
        self.computed_share = 1.0
        self.resumes_total = 0
        self.recomputed_tokens_total = 0

    def resumed(self, cached_tokens: int, tokens: int) -> None:
        """Learn from a stream that came back and found some of its KV still there."""
        self.resumes_total += 1
        self.recomputed_tokens_total += tokens - cached_tokens
        self.computed_share += _NEWEST * (
            1.0 - cached_tokens / tokens - self.computed_share
        )
