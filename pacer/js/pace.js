// When each token is shown: numbers only. The rule is the one of `pacer/pace.py`, which says
// why; `vectors.json` holds both to it.

import { TDS_RANGE, inRange } from "./expectation.js";

const LATE_LOOK_S = 0.1;
const ROUNDING_S = 1e-9;

/** Releases the tokens of one stream to its reader; times are seconds on one clock. */
export class Pace {
  #catchUp;
  #unpaced;
  #tokenS = 1;
  #leastGapS = 1;
  #rate = 1;
  #value = 1;
  #isPaused = false;
  #atS = 0;
  #readS = 0;
  #arrivals = [];
  #lineS = null;
  #lastS = 0;
  arrived = 0;
  released = 0;

  /** @param {number | null} tds Tokens/s; null for no pace. */
  constructor(tds, catchUp) {
    this.#catchUp = catchUp;
    this.#unpaced = tds === null;
    this.#setPace(tds ?? 1);
  }

  get isPaused() {
    return this.#isPaused;
  }

  /** What the reader's clock says at `t`: it stands still during a pause. */
  readS(t) {
    const rate = this.#isPaused ? 0 : this.#rate;
    return this.#readS + (t - this.#atS) * rate;
  }

  push(t, tokens) {
    if (tokens === 0) return;
    this.arrived += tokens;
    this.#arrivals.push([this.readS(t), this.arrived]);
  }

  pause(t) {
    this.#setClock(t);
    this.#isPaused = true;
  }

  resume(t) {
    this.#setClock(t);
    this.#isPaused = false;
  }

  /** From now on `tds` tokens/s; null shows what has arrived, and all that will. */
  speed(t, tds) {
    if (tds !== null) inRange("tds", tds, TDS_RANGE, "tokens/s");
    this.#setClock(t);
    this.#unpaced = tds === null;
    if (tds === null) return;
    if (this.arrived === 0) this.#setPace(tds);
    else this.#rate = (tds * this.#tokenS) / this.#value;
  }

  /** What was pushed as a token is `value` of them: from now on the pace is by that. */
  revalue(t, value) {
    this.#setClock(t);
    this.#rate *= this.#value / value;
    this.#value = value;
  }

  /** Release all that has arrived, also during a pause. */
  flush(t) {
    if (this.released === this.arrived) return;
    this.released = this.arrived;
    this.#arrivals = [];
    this.#lastS = this.readS(t);
    this.#lineS = this.#lastS - (this.released - 1) * this.#tokenS;
  }

  /** How many tokens have been released so far, with those that are due by `t`. */
  look(t) {
    if (this.#isPaused) return this.released;
    if (this.#unpaced) this.flush(t);
    const nowS = this.readS(t);
    const earliestS = nowS - LATE_LOOK_S * this.#rate;
    while (this.#arrivals.length > 0) {
      const dueS = this.#dueS();
      if (dueS > nowS + ROUNDING_S) break;
      this.#release(Math.max(dueS, earliestS));
    }
    return this.released;
  }

  /** When the next token is due; null while none has arrived, or during a pause. */
  nextAt() {
    if (this.#isPaused || this.#arrivals.length === 0) return null;
    const dueS = this.#unpaced ? this.#arrivals[0][0] : this.#dueS();
    return this.#atS + (dueS - this.#readS) / this.#rate;
  }

  /** Seconds of text left to read; negative for a reader who waits for more. */
  slackS(t) {
    if (this.released === 0) return 0;
    const readToS = this.#lastS + (this.arrived - this.released + 1) * this.#tokenS;
    return (readToS - this.readS(t)) / this.#rate;
  }

  #setPace(tds) {
    this.#tokenS = 1 / tds;
    this.#leastGapS = this.#tokenS / this.#catchUp;
  }

  #setClock(t) {
    this.#readS = this.readS(t);
    this.#atS = t;
  }

  #dueS() {
    const arrivedS = this.#arrivals[0][0];
    if (this.#lineS === null) return arrivedS;
    return Math.max(
      arrivedS,
      this.#lineS + this.released * this.#tokenS,
      this.#lastS + this.#leastGapS,
    );
  }

  #release(dueS) {
    this.#lineS ??= dueS;
    this.#lastS = dueS;
    this.released += 1;
    if (this.released === this.#arrivals[0][1]) this.#arrivals.shift();
  }
}
