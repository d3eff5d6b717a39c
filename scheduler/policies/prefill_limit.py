"""How much prompt a step computes, so that it does not come too late for who decodes."""

from __future__ import annotations

import numpy as np

from scheduler.snapshot import Snapshot

# However late the readers are, a step computes this much prompt: below it the fixed cost of
# a step eats what the readers gain.
MIN_PREFILL_TOKENS = 256

# Part of what is allowed that a step is planned to take. The fitted step time does not know
# every prompt's attention; with 1, readers stall for the difference.
STEP_MARGIN = 0.9


def token_budget(snapshot: Snapshot) -> int | None:
    """Most tokens of a step that still reaches every decoding reader in time.

    A step may last until the emptiest buffer runs dry, or as long as the strictest reader
    takes for a token, whichever is more. None: the engine's own limit is in time.
    """
    decoding = np.flatnonzero(~snapshot.is_prefilling[: snapshot.num_running])
    if not decoding.size or snapshot.prefill_tokens.sum() == 0.0:
        return None
    strictest_s = 1.0 / float(snapshot.forecast.tds[decoding].max())
    allowed_s = max(float(snapshot.slack_s[decoding].min()), strictest_s)
    left_s = STEP_MARGIN * allowed_s - snapshot.step_time.step_s(decoding.size)
    prefill_s = max(snapshot.step_time.prefill_s_per_token, 1e-9)
    budget = decoding.size + max(MIN_PREFILL_TOKENS, int(left_s / prefill_s))
    return budget if budget < snapshot.token_budget else None
