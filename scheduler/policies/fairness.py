"""Fair shares between tenants, in the order of those who wait. Pure.

A tenant within its share is served as if it were alone. What goes beyond it waits behind
the others, in the order of weighted fair queueing: by what its tenant has used, what its
running answers are going to cost, and what is asked before it.
"""

from __future__ import annotations

import numpy as np

from scheduler.snapshot import Floats, Ints, TenantShares

# Levels are so many answers of mean cost apart: within one, worth decides, and somebody
# with a stream or two is never beyond the first. With 3, twenty equal tenants lose 0.02 of
# the mean to their differences by chance; with 6 a share is met less well.
FREE_ANSWERS = 4.0


def beyond_share(
    shares: TenantShares, begun: Ints, waiting: Ints, answer_s: Floats
) -> Floats:
    """How far a waiting stream's tenant is beyond its share when the stream's turn comes.

    Its share is what the tenants have used on average. Not what the one has that used
    least: a tenant that starves by its own fault puts nobody else beyond a share.

    Args:
        shares: Of the tenants of all streams.
        begun: Those whose answers are written and not yet paid for.
        waiting: Those who wait, in the order in which their tenants want them served.
        answer_s: What an answer costs, of all streams.

    Returns:
        Levels, shape of `waiting`; 0 for all who are within their share.
    """
    row, cost_s = shares.row, answer_s / shares.share[shares.row]
    used_s = shares.used_s + np.bincount(
        row[begun], cost_s[begun], minlength=shares.used_s.size
    )
    by_tenant = np.argsort(row[waiting], kind="stable")
    rows, costs_s = row[waiting][by_tenant], cost_s[waiting][by_tenant]
    before_s = np.cumsum(costs_s) - costs_s
    is_first = np.r_[True, rows[1:] != rows[:-1]][: rows.size]
    before_s -= np.maximum.accumulate(np.where(is_first, before_s, 0.0))
    start_s = np.empty(waiting.size)
    start_s[by_tenant] = used_s[rows] + before_s
    ahead_s = start_s - used_s[np.unique(row)].mean()
    levels: Floats = np.floor(np.maximum(ahead_s / (FREE_ANSWERS * answer_s.mean()), 0.0))
    return levels
