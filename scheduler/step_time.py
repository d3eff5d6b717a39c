"""How long an engine step takes, learned from the steps themselves."""

from __future__ import annotations

from scheduler.snapshot import StepTime


class StepTimeModel:
    """Least squares with forgetting over two features: streams and prefill tokens.

    `step_s = base_s + num_streams · per_stream_s + prefill_tokens · prefill_s_per_token`.
    Prefill comes and goes from one step to the next, so its cost is told apart soon; the
    batch changes slowly, and while it stands still its cost sits in the base.

    Args:
        forgetting: Weight of the past at each step; 0.99 remembers about 100 steps.
        initial_step_s: The guess before the first step.
        initial_prefill_s: The guess for one prefill token.

    Attributes:
        steps_total: Steps learned from.
        step_s_total: Their seconds.
        error_s_total: Absolute differences to what was predicted, seconds.
    """

    # A stall of the host is not a step; longer samples are cut to this many mean steps.
    OUTLIER = 20.0
    # The variance a feature needs before its slope is believed: a ridge, in its own units.
    MIN_VAR_STREAMS = 1.0
    MIN_VAR_PREFILL = 1.0

    def __init__(
        self,
        forgetting: float = 0.99,
        initial_step_s: float = 0.02,
        initial_prefill_s: float = 1e-4,
    ) -> None:
        self._forgetting = forgetting
        self._initial_prefill_s = initial_prefill_s
        self._weight = 0.0
        self._mean_b = self._mean_p = 0.0
        self._mean_y = initial_step_s
        self._var_b = self._var_p = self._cov_bp = 0.0
        self._cov_by = self._cov_py = 0.0
        self._ended_at_s: float | None = None
        self.steps_total = 0
        self.step_s_total = self.error_s_total = 0.0

    @property
    def is_stepping(self) -> bool:
        """Whether the engine went on after its last step."""
        return self._ended_at_s is not None

    def step_ended(
        self, now_s: float, *, num_streams: int, num_tokens: int, goes_on: bool
    ) -> None:
        """Learn from the time since the last step ended, unless the engine slept between.

        Args:
            now_s: When this step ended.
            num_streams: Streams it served, each with one token of its own.
            num_tokens: All tokens it computed but drafts, which come with their stream.
            goes_on: Whether another step follows at once.
        """
        if num_streams and self._ended_at_s is not None:
            self.observe(now_s - self._ended_at_s, num_tokens - num_streams, num_streams)
        self._ended_at_s = now_s if goes_on else None

    def observe(self, step_s: float, prefill_tokens: int, num_streams: int) -> None:
        """Learn from one step that took `step_s` seconds; prefill tokens may be 0."""
        if self._weight > 1.0:
            step_s = min(step_s, self.OUTLIER * self._mean_y)
        self._judge(step_s, prefill_tokens, num_streams)
        self._weight = self._forgetting * self._weight + 1.0
        gain = 1.0 / self._weight
        db, dp = num_streams - self._mean_b, prefill_tokens - self._mean_p
        dy = step_s - self._mean_y
        self._mean_b += gain * db
        self._mean_p += gain * dp
        self._mean_y += gain * dy
        keep = 1.0 - gain
        self._var_b = keep * (self._var_b + gain * db * db)
        self._var_p = keep * (self._var_p + gain * dp * dp)
        self._cov_bp = keep * (self._cov_bp + gain * db * dp)
        self._cov_by = keep * (self._cov_by + gain * db * dy)
        self._cov_py = keep * (self._cov_py + gain * dp * dy)

    def _judge(self, step_s: float, prefill_tokens: int, num_streams: int) -> None:
        """Note how far from this step the prediction was."""
        predicted_s = self.fitted().step_s(num_streams, prefill_tokens)
        self.steps_total += 1
        self.step_s_total += step_s
        self.error_s_total += abs(predicted_s - step_s)

    def fitted(self) -> StepTime:
        """The model as it stands; every term >= 0, a step > 0."""
        per_stream_s, per_token_s = self._slopes()
        base_s = self._mean_y - per_token_s * self._mean_p - per_stream_s * self._mean_b
        # Prefill in every step leaves the base to extrapolation; a floor keeps it sane.
        base_s = max(base_s, 0.1 * self._mean_y, 1e-5)
        return StepTime(base_s, per_stream_s, per_token_s)

    @property
    def knows_prefill(self) -> bool:
        """Whether the cost of a prefill token is seen in steps, and not the first guess."""
        return self._var_p >= self.MIN_VAR_PREFILL

    @property
    def step_s(self) -> float:
        """Seconds of a step without prefill at the recent batch size, > 0."""
        return self.fitted().step_s(self._mean_b)

    @property
    def tokens_per_s(self) -> float:
        """Tokens that the recent steps brought, per second of all that they did."""
        return self._mean_b / self._mean_y

    def _slopes(self) -> tuple[float, float]:
        """Seconds per stream and per prefill token, both >= 0."""
        var_b, var_p = self._var_b + self.MIN_VAR_STREAMS, self._var_p
        if not self.knows_prefill:
            return max(0.0, self._cov_by / var_b), self._initial_prefill_s
        det = var_b * var_p - self._cov_bp**2
        per_stream_s = (self._cov_by * var_p - self._cov_py * self._cov_bp) / det
        if per_stream_s < 0.0:
            return 0.0, max(0.0, self._cov_py / var_p)
        per_token_s = (self._cov_py * var_b - self._cov_by * self._cov_bp) / det
        return per_stream_s, max(0.0, per_token_s)
