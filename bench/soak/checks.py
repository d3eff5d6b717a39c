"""What must hold of a soak. Pure: what was seen in, one line a check out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bench.soak.flat import flat
from bench.soak.plan import FAULTS
from bench.soak.results import (
    ENDINGS,
    FAILED,
    FINISHED,
    Break,
    Check,
    Ended,
    InjectedFault,
    Rest,
    Series,
    Silence,
    with_examples,
)

# A fault may cut streams for so long: a dead replica for as long as it takes to notice,
# what all requests pass until it is there again, and one that is only frozen not at all.
NOTICED_S = 20.0
CUTS_UNTIL_NOTICED = ("kill_replica", "kill_engine")
CUTS_UNTIL_WHOLE = ("kill_router", "kill_haproxy")
# Clocks of a client and of who breaks things are read one after the other.
AROUND_S = 1.0
# HAProxy asks its router for so long: who asked a dead one is told so afterwards.
ASKED_S = 5.0
# What is left of a fault when the service is whole: queues that are still long.
AFTER_S = 10.0
# Reports are a moment old.
MORE_STREAMS = 4
# At rest, of each process beyond what was there before: HAProxy keeps idle connections.
MORE_AT_REST = 12
# HAProxy's manager keeps the two logs of so many that have ended.
MORE_FILES = 20


def all_checks(
    started: int,
    ended: Sequence[Ended],
    faults: Sequence[InjectedFault],
    series: Series,
    before: Rest,
    after: Rest,
) -> list[Check]:
    """Every check of a soak."""
    return [
        accounted(started, ended),
        same_tokens(ended),
        explained(ended, faults),
        nothing_else_cut(ended, faults),
        never_silent(ended, faults),
        served(ended),
        recovered(faults),
        emptied(after),
        same_at_rest(before, after),
        *flat(series),
    ]


def accounted(started: int, ended: Sequence[Ended]) -> Check:
    """Streams started = finished + failed with a reason + cancelled + refused."""
    counts = Counter(one.ending for one in ended)
    silent = [one for one in ended if one.ending not in ENDINGS or _says_nothing(one)]
    sums = " + ".join(f"{counts[name]:,} {name}" for name in ENDINGS)
    return Check(
        "every stream has an end, and a reason",
        not silent and started == len(ended),
        with_examples(f"{started:,} started = {sums}", [_named(one) for one in silent]),
    )


def same_tokens(ended: Sequence[Ended]) -> Check:
    """Tokens in order, none twice, none missing: those of the undisturbed answer."""
    wrong = [f"{_named(one)}: {one.difference}" for one in ended if one.difference]
    tokens = sum(one.tokens for one in ended)
    seen = f"{tokens:,} tokens compared, {len(wrong)} streams differ"
    return Check(
        "tokens are those of the undisturbed answer", not wrong, with_examples(seen, wrong)
    )


def explained(ended: Sequence[Ended], faults: Sequence[InjectedFault]) -> Check:
    """A stream breaks off only where something was broken that it may have been on."""
    breaks = [(one, broken) for one in ended for broken in one.breaks]
    odd = [
        f"{_named(one)} at {broken.at_s:.0f} s: {broken.reason}"
        for one, broken in breaks
        if not any(may_cut(fault, broken) for fault in faults)
    ]
    seen = f"{len(breaks):,} attempts broke off, {len(odd)} of them with nothing broken"
    return Check(
        "streams break off only by faults that cut them", not odd, with_examples(seen, odd)
    )


def nothing_else_cut(ended: Sequence[Ended], faults: Sequence[InjectedFault]) -> Check:
    """A dead replica or engine cuts its own streams alone."""
    odd, seen = [], []
    for fault in faults:
        if fault.name in CUTS_UNTIL_NOTICED and fault.streams is not None:
            cut = {
                id(one) for one in ended for broken in one.breaks if may_cut(fault, broken)
            }
            seen.append(f"{len(cut)} of {fault.streams}")
            if len(cut) > fault.streams + MORE_STREAMS:
                odd.append(f"{fault.name} at {fault.at_s:.0f} s: {seen[-1]}")
    said = "streams cut, of those on the victim: " + (", ".join(seen) or "none died")
    return Check(
        "a death cuts the streams of the dead alone", not odd, with_examples(said, odd)
    )


def never_silent(ended: Sequence[Ended], faults: Sequence[InjectedFault]) -> Check:
    """Whoever waits gets a comment; a long silence needs a fault."""
    silences = [(one, silence) for one in ended for silence in one.silences]
    odd = [
        f"{_named(one)} from {silence.from_s:.0f} to {silence.to_s:.0f} s"
        for one, silence in silences
        if not any(_may_silence(fault, silence) for fault in faults)
    ]
    seen = f"{len(silences):,} silences of more than 10 s, {len(odd)} with nothing broken"
    return Check("nothing goes quiet", not odd, with_examples(seen, odd))


def served(ended: Sequence[Ended]) -> Check:
    """Whoever stays and comes again gets the whole answer."""
    failed = [one for one in ended if one.ending == FAILED]
    finished = sum(one.ending == FINISHED for one in ended)
    seen = f"{finished:,} whole answers, {len(failed)} lost"
    lost = [f"{_named(one)}: {one.reason}" for one in failed]
    return Check(
        "no answer is lost", finished > 0 and not failed, with_examples(seen, lost)
    )


def recovered(faults: Sequence[InjectedFault]) -> Check:
    """After each fault the service is whole again, by itself."""
    never = [f"{f.name} at {f.at_s:.0f} s" for f in faults if f.whole_s is None]
    longest_s = max(
        (f.whole_s - f.at_s for f in faults if f.whole_s is not None), default=0
    )
    seen = f"{len(faults)} faults, whole after {longest_s:.0f} s at most"
    return Check("the service becomes whole again", not never, with_examples(seen, never))


def emptied(after: Rest) -> Check:
    """Tables, queues and ledgers are empty when the last client has gone."""
    busy = [f"{name}: {why}" for name, why in after.busy.items()]
    seen = f"after {after.after_s:.0f} s, {after.on_their_way:g} in the routers' ledgers"
    return Check(
        "engines, queues and ledgers are empty", after.is_empty, with_examples(seen, busy)
    )


def same_at_rest(before: Rest, after: Rest) -> Check:
    """At rest there is what was there before the load: processes, sockets, files."""
    odd = [
        f"{role}: {before.processes.get(role, 0)} processes, then {count}"
        for role in sorted({*before.processes, *after.processes})
        if (count := after.processes.get(role, 0)) != before.processes.get(role, 0)
    ]
    for what in ("sockets", "descriptors"):
        held, holds = getattr(before, what), getattr(after, what)
        odd += [
            f"{role}: {held.get(role, 0)} {what}, then {count}"
            for role, count in holds.items()
            if count
            > held.get(role, 0) + MORE_AT_REST * max(1, before.processes.get(role, 0))
        ]
    if after.files > before.files + MORE_FILES:
        odd.append(f"{before.files} temporary files, then {after.files}")
    sockets = [sum(rest.sockets.values()) for rest in (before, after)]
    seen = f"{sockets[0]} sockets before, {sockets[1]} after"
    return Check(
        "at rest there is what there was before", not odd, with_examples(seen, odd)
    )


def may_cut(fault: InjectedFault, broken: Break) -> bool:
    """Whether a stream may break off by this fault at that time."""
    assert fault.name in FAULTS
    if fault.name in CUTS_UNTIL_NOTICED:
        until_s = fault.at_s + NOTICED_S
    elif fault.name in CUTS_UNTIL_WHOLE:
        until_s = float("inf") if fault.whole_s is None else fault.whole_s + ASKED_S
    else:
        return False
    return fault.at_s - AROUND_S <= broken.at_s <= until_s


def _may_silence(fault: InjectedFault, silence: Silence) -> bool:
    whole_s = float("inf") if fault.whole_s is None else fault.whole_s
    return silence.from_s <= whole_s + AFTER_S and silence.to_s >= fault.at_s - AROUND_S


def _says_nothing(one: Ended) -> bool:
    return one.ending != FINISHED and not one.reason


def _named(one: Ended) -> str:
    return f"{one.kind} of {one.began_s:.0f} s"
