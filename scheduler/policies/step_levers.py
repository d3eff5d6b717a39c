"""The two levers on a step's length: who sits it out, and how much prompt it computes."""

from __future__ import annotations

import numpy as np

from scheduler.settings import SchedulerSettings
from scheduler.snapshot import NOBODY, Ints, Snapshot

# However late the readers are, a step computes this much prompt: below it the fixed cost of
# a step eats what the readers gain.
MIN_PREFILL_TOKENS = 256


def paused(snapshot: Snapshot, settings: SchedulerSettings) -> Ints:
    """Running streams to leave out of this step, with their memory; the fullest buffers.

    Only while a reader is about to notice and a step of everybody is slower than the
    strictest reader, and no more than it takes.
    """
    decoding = _decoding(snapshot)
    if not (settings.pauses and decoding.size):
        return NOBODY
    slack_s = snapshot.slack_s[decoding]
    strictest_s = 1.0 / float(snapshot.forecast.tds[decoding].max())
    step_time = snapshot.step_time
    excess_s = step_time.step_s(decoding.size) - strictest_s
    if excess_s <= 0.0 or slack_s.min() > strictest_s or step_time.per_stream_s <= 0.0:
        return NOBODY
    count = int(np.ceil(excess_s / step_time.per_stream_s))
    fullest = decoding[np.argsort(-slack_s, kind="stable")][:count]
    chosen: Ints = fullest[snapshot.slack_s[fullest] >= settings.min_pause_slack_s]
    return chosen


def token_budget(
    snapshot: Snapshot, settings: SchedulerSettings, pause: Ints
) -> int | None:
    """Most tokens of a step that still reaches every decoding reader in time.

    A step may last until the emptiest buffer runs dry, or as long as the strictest reader
    takes for a token, whichever is more. None: the engine's own limit is in time.
    """
    decoding = _decoding(snapshot)
    num_decoding = decoding.size - pause.size
    prefill_s = snapshot.step_time.prefill_s_per_token
    nobody_prefills = snapshot.prefill_tokens.sum() == 0.0
    if not settings.limits_prefill or num_decoding <= 0 or nobody_prefills:
        return None
    strictest_s = 1.0 / float(snapshot.forecast.tds[decoding].max())
    allowed_s = max(float(snapshot.slack_s[decoding].min()), strictest_s)
    left_s = allowed_s - snapshot.step_time.step_s(num_decoding)
    prompt = max(MIN_PREFILL_TOKENS, int(left_s / max(prefill_s, 1e-9)))
    budget = num_decoding + prompt
    return budget if budget < snapshot.token_budget else None


def _decoding(snapshot: Snapshot) -> Ints:
    prefilling = snapshot.is_prefilling[: snapshot.num_running]
    decoding: Ints = np.flatnonzero(~prefilling)
    return decoding
