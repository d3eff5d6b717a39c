// What a reader expects: the first token within `ttftS` seconds, then `tds` tokens/s.

/** The profiles of a service, by name; `none` has no reader and shows text as it comes. */
export const PROFILES = Object.freeze({
  reading: Object.freeze({ ttftS: 1.0, tds: 4.8 }),
  listening: Object.freeze({ ttftS: 1.0, tds: 3.3 }),
  none: Object.freeze({ ttftS: 1.0, tds: null }),
});

export const TDS_RANGE = [0.01, 1000];
const TTFT_RANGE_S = [0.01, 600];
const CATCH_UP_RANGE = [1, 10];
const HOLD_RANGE_S = [0, 60];

/**
 * The options of one stream with every default filled in.
 *
 * @throws {RangeError} A value is out of range; the message says which and what is allowed.
 */
export function resolved(given = {}) {
  const profile = PROFILES[given.profile ?? "reading"];
  if (profile === undefined) {
    throw bad("profile", given.profile, `one of ${Object.keys(PROFILES).join(", ")}`);
  }
  const tds = given.tds === undefined ? profile.tds : given.tds;
  const atEnd = given.atEnd ?? "pace";
  if (atEnd !== "flush" && atEnd !== "pace") {
    throw bad("atEnd", atEnd, "flush or pace");
  }
  return {
    tds: tds === null ? null : inRange("tds", tds, TDS_RANGE, "tokens/s"),
    ttftS: inRange("ttftS", given.ttftS ?? profile.ttftS, TTFT_RANGE_S, "seconds"),
    catchUp: inRange("catchUp", given.catchUp ?? 1.5, CATCH_UP_RANGE, "times the pace"),
    holdS: inRange("holdS", given.holdS ?? 0.1, HOLD_RANGE_S, "seconds"),
    words: Boolean(given.words ?? false),
    atEnd,
  };
}

export function inRange(name, value, [low, high], unit) {
  if (typeof value !== "number" || !(value >= low && value <= high)) {
    throw bad(name, value, `${low} to ${high} ${unit}`);
  }
  return value;
}

function bad(name, value, allowed) {
  return new RangeError(`${name}=${JSON.stringify(value)} is invalid: it must be ${allowed}.`);
}
