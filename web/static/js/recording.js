// The recorded run: `python -m bench.recording` writes it and describes its fields.

import { expectedArea, readArea, readingTimes } from "../pacer/index.js";

export const POLICIES = ["fcfs", "andes"];

// The scores are settled with the last token; who reads on is shown for a moment more.
const AFTER_S = 4;

/** The run at `url`, in seconds. */
export async function load(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`the recorded run is missing (${answer.status})`);
  return decode(await answer.json());
}

export function decode(raw) {
  const arrivalsS = raw.arrivals_ms.map(seconds);
  const runs = Object.fromEntries(
    POLICIES.map((policy) => [policy, everyone(raw.runs[policy])]),
  );
  const readers = raw.readers.map((reader, i) => ({
    number: i + 1,
    arrivalS: arrivalsS[reader.row],
    ttftS: reader.ttft_s,
    tds: reader.tds,
    tokens: reader.output_tokens,
    seen: Object.fromEntries(
      POLICIES.map((policy) => [policy, seenBy(reader, raw.runs[policy], i)]),
    ),
  }));
  return { ...raw, arrivalsS, runs, readers, endS: lastDelivery(arrivalsS, runs) + AFTER_S };
}

function everyone(run) {
  return {
    summary: run.summary,
    firstS: run.first_ms.map(seconds),
    endS: run.end_ms.map(seconds),
    qoe: run.qoe,
  };
}

function seenBy(reader, run, i) {
  let t = 0;
  const deliveredS = run.tokens_ms[i].map((step) => (t += step) / 1000);
  return {
    deliveredS,
    readS: readingTimes(deliveredS, reader.tds),
    qoe: run.qoe[reader.row],
    stallS: run.stall_ms[reader.row] / 1000,
  };
}

function lastDelivery(arrivalsS, runs) {
  return Math.max(
    ...POLICIES.flatMap((policy) => runs[policy].endS.map((end, i) => arrivalsS[i] + end)),
  );
}

/** How many of the sorted `times` have passed at `t`. */
export function passed(times, t) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * What has become of a reader `t` seconds after the request.
 *
 * @returns {{state: string, delivered: number, read: number, waitedS: number, qoe: number}}
 *   `state` is away, asked, waiting, reading, stalled or done.
 */
export function lookAt(reader, policy, t) {
  const { deliveredS, readS, qoe, stallS } = reader.seen[policy];
  const delivered = passed(deliveredS, t);
  const read = passed(readS, t);
  const waitedS = Math.max(0, Math.min(t, deliveredS[0]));
  const at = { delivered, read, waitedS, stallS: 0, qoe: 1 };
  if (t < 0) return { ...at, state: "away" };
  const doneS = readS[readS.length - 1] + 1 / reader.tds;
  const isScored = delivered === reader.tokens;
  if (isScored) Object.assign(at, { qoe, stallS });
  if (t >= doneS) return { ...at, state: "done" };
  if (isScored) return { ...at, state: "reading" };
  at.qoe = qoeSoFar(reader, deliveredS.slice(0, delivered), t);
  if (delivered === 0) return { ...at, state: t <= reader.ttftS ? "asked" : "waiting" };
  const isOut = read === delivered && t > readS[read - 1] + 1 / reader.tds;
  return { ...at, state: isOut ? "stalled" : "reading" };
}

/** Area QoE at `t`: the reader expects the whole answer, at the reader's pace. */
function qoeSoFar(reader, deliveredS, t) {
  const expected = expectedArea(t, reader.tokens, reader);
  if (expected === 0) return 1;
  return Math.min(1, readArea(deliveredS, t, reader.tds) / expected);
}

function seconds(ms) {
  return ms / 1000;
}
