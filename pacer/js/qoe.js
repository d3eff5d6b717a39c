// Scores of one stream, from the times its tokens came: seconds since the request was sent.

/**
 * Area QoE: what the reader had read, over what the reader expected to have read by then.
 *
 * @param {readonly number[]} atS When each token came, in order.
 * @param {{ttftS: number, tds: number}} expectation
 * @returns {number} 0 to 1; 1 means that the reader was never behind.
 */
export function areaQoe(atS, { ttftS, tds }) {
  if (atS.length === 0) return 0;
  const endS = atS[atS.length - 1];
  const expected = expectedArea(endS, atS.length, { ttftS, tds });
  if (expected === 0) return 1;
  return Math.min(1, readArea(atS, endS, tds) / expected);
}

/** When the reader gets to each token: never before it came, never faster than `tds`. */
export function readingTimes(atS, tds) {
  let lastS = -Infinity;
  return atS.map((t) => (lastS = Math.max(t, lastS + 1 / tds)));
}

/** Seconds that the reader sat with nothing to read between the first and last token. */
export function stallS(atS, tds) {
  if (atS.length < 2) return 0;
  const readS = readingTimes(atS, tds);
  return Math.max(0, readS[readS.length - 1] - readS[0] - (atS.length - 1) / tds);
}

/** Token-seconds read by `endS`. */
export function readArea(atS, endS, tds) {
  const tokenS = 1 / tds;
  let area = 0;
  for (const startS of readingTimes(atS, tds)) {
    const readingS = Math.max(0, endS - startS);
    area += readingS < tokenS ? (readingS * readingS * tds) / 2 : readingS - tokenS / 2;
  }
  return area;
}

/** Token-seconds that the reader expected of `tokens` tokens by `endS`. */
export function expectedArea(endS, tokens, { ttftS, tds }) {
  const lateS = Math.max(0, endS - ttftS);
  const rampS = Math.min(lateS, tokens / tds);
  return (tds * rampS * rampS) / 2 + tokens * (lateS - rampS);
}
