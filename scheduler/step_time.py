"""How long an engine step takes, learned from the steps themselves."""

from __future__ import annotations


class StepTimeModel:
    """Least squares with forgetting: `step_s = base_s + prefill_tokens · per_token_s`.

    The decode batch changes slowly, so its cost sits in the base; prefill comes and goes
    from one step to the next, so its cost can be told apart.

    Args:
        forgetting: Weight of the past at each step; 0.98 remembers about 50 steps.
        initial_step_s: The guess before the first step.
        initial_prefill_s: The guess for one prefill token.
    """

    # A stall of the host is not a step; longer samples are cut to this many mean steps.
    OUTLIER = 20.0

    def __init__(
        self,
        forgetting: float = 0.98,
        initial_step_s: float = 0.02,
        initial_prefill_s: float = 1e-4,
    ) -> None:
        self._forgetting = forgetting
        self._initial_prefill_s = initial_prefill_s
        self._weight = 0.0
        self._mean_x = 0.0
        self._mean_y = initial_step_s
        self._var_x = 0.0
        self._cov_xy = 0.0

    def observe(self, step_s: float, prefill_tokens: int) -> None:
        """Learn from one step that took `step_s` seconds; prefill tokens may be 0."""
        if self._weight > 1.0:
            step_s = min(step_s, self.OUTLIER * self._mean_y)
        self._weight = self._forgetting * self._weight + 1.0
        gain = 1.0 / self._weight
        dx, dy = prefill_tokens - self._mean_x, step_s - self._mean_y
        self._mean_x += gain * dx
        self._mean_y += gain * dy
        self._var_x += gain * (dx * (prefill_tokens - self._mean_x) - self._var_x)
        self._cov_xy += gain * (dx * (step_s - self._mean_y) - self._cov_xy)

    @property
    def prefill_s_per_token(self) -> float:
        """Seconds that one prefill token adds to a step, >= 0."""
        if self._var_x < 1.0:
            return self._initial_prefill_s
        return max(0.0, self._cov_xy / self._var_x)

    @property
    def step_s(self) -> float:
        """Seconds of a step without prefill, > 0."""
        base = self._mean_y - self.prefill_s_per_token * self._mean_x
        # Prefill in every step leaves the base to extrapolation; a floor keeps it sane.
        return max(base, 0.1 * self._mean_y, 1e-5)
