// One stream on its way to its reader: pace, text and log together, without a clock. The
// rules are the ones of `pacer/page.py`.

import { PROFILES, resolved } from "./expectation.js";
import { Pace } from "./pace.js";
import { areaQoe } from "./qoe.js";
import { Text } from "./text.js";
import { PLAUSIBLE, Tokens } from "./tokens.js";

const encoder = new TextEncoder();

/** Times are seconds since the request was sent; events and looks come in order of time. */
export class Page {
  #options;
  #expectation;
  #pace;
  #text;
  #tokens = new Tokens();
  #textless = 0;
  #hasEnded = false;
  #isFlushing = false;
  // The times of the log on the reader's clock.
  #read = { delivered: [], shown: [] };
  /** When each token came, and when the reader saw all of its text. */
  log = { delivered: [], shown: [] };

  constructor(options = {}) {
    this.#options = resolved(options);
    const { tds, ttftS, catchUp, words, holdS } = this.#options;
    this.#expectation = { ttftS, tds: tds ?? PROFILES.reading.tds };
    this.#pace = new Pace(tds, catchUp);
    this.#text = new Text(words, holdS);
  }

  /** A delta arrived: `text`, made of `tokens` tokens; null if nobody says how many. */
  push(t, text, tokens = null) {
    if (text === "") {
      this.#textless += tokens ?? 0;
      return;
    }
    let counted = tokens;
    if (counted !== null) {
      // Reasoning that the service left out must not be waited for.
      const bytes = encoder.encode(text).length;
      counted = Math.max(1, Math.min(counted + this.#textless, bytes));
    }
    this.#textless = 0;
    this.#text.push(t, text, this.#tokens.place(text, counted));
    const count = this.#tokens.begun - this.#pace.arrived;
    this.#pace.push(t, count);
    add(this.log.delivered, t, count);
    add(this.#read.delivered, this.#pace.readS(t), count);
  }

  /** All the text so far is made of `tokens` tokens; what is left is paced by that. */
  recount(t, tokens) {
    const value = tokens / this.#pace.arrived;
    // Otherwise somebody counts something else, such as reasoning that was left out.
    if (value >= 1 / PLAUSIBLE && value <= PLAUSIBLE) this.#pace.revalue(t, value);
  }

  /** No more deltas will come. */
  end() {
    this.#hasEnded = true;
    this.#text.end();
  }

  /** Show all whole characters that have arrived, even during a pause. */
  flush(t) {
    this.#pace.flush(t);
    this.#text.settleWords();
    this.#isFlushing = true;
  }

  pause(t) {
    this.#pace.pause(t);
  }

  resume(t) {
    this.#pace.resume(t);
  }

  /** Go on at `tds` tokens/s; null shows text as it comes. */
  speed(t, tds) {
    this.#pace.speed(t, tds);
    if (tds !== null && this.#pace.arrived === 0) {
      this.#expectation = { ...this.#expectation, tds };
    }
  }

  /** The text to show now, often empty. */
  look(t) {
    if (this.#pace.isPaused && !this.#isFlushing) return "";
    this.#isFlushing = false;
    if (this.#hasEnded && this.#options.atEnd === "flush") this.#pace.flush(t);
    const released = this.#pace.look(t);
    this.#text.settle(t);
    const text = this.#text.take(released);
    this.#noteShown(t, released);
    return text;
  }

  /**
   * When to look next, unless something happens before; null: not by waiting. A time that
   * has passed means now.
   */
  nextAt() {
    if (this.#pace.isPaused && !this.#isFlushing) return null;
    if (this.#text.canTake(this.#pace.released)) return 0;
    const first = this.#text.firstHidden;
    const isHeld = first !== null && first < this.#pace.released;
    const times = [this.#pace.nextAt(), isHeld ? this.#text.settlesAt : null];
    const known = times.filter((t) => t !== null);
    return known.length === 0 ? null : Math.min(...known);
  }

  /** Whether the stream has ended and all of it was shown. */
  get isDone() {
    return this.#hasEnded && this.#text.firstHidden === null;
  }

  get isPaused() {
    return this.#pace.isPaused;
  }

  /** Tokens that arrived and were not shown. */
  get tokensLeft() {
    return this.log.delivered.length - this.log.shown.length;
  }

  /** Seconds of text left to read; negative for a reader who waits. */
  slackS(t) {
    return this.#pace.slackS(t);
  }

  /** Area QoE so far, of the tokens as they came and as they were shown. */
  get qoe() {
    return {
      delivered: areaQoe(this.#read.delivered, this.#expectation),
      shown: areaQoe(this.#read.shown, this.#expectation),
    };
  }

  #noteShown(t, released) {
    const hidden = this.#text.firstHidden;
    let shown = hidden === null ? released : Math.min(released, hidden);
    if (this.isDone) shown = this.#pace.arrived;
    const count = shown - this.log.shown.length;
    add(this.log.shown, t, count);
    add(this.#read.shown, this.#pace.readS(t), count);
  }
}

function add(times, t, count) {
  for (let i = 0; i < count; i += 1) times.push(t);
}
