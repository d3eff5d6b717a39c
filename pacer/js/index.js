// Text of a stream at the pace of its reader:
//
//   for await (const text of paced(fetch(url, request), { profile: "reading" })) show(text);

import { Page } from "./page.js";
import { deltas } from "./source.js";
import { Feedback, pauseWhileHidden } from "./visibility.js";

export { PROFILES } from "./expectation.js";
export { Page } from "./page.js";
export { areaQoe, expectedArea, readArea, readingTimes, stallS } from "./qoe.js";
export { StreamError } from "./chunks.js";
export { deltas } from "./source.js";

/** Show the text of `source` at its reader's pace; `index.d.ts` describes the options. */
export function paced(source, options = {}) {
  return new Paced(source, options);
}

// Browsers count a timer in 32 bits.
const LONGEST_WAIT_MS = 2 ** 31 - 1;

class Paced {
  #page;
  #stop = new AbortController();
  #nowS;
  #feedback = null;
  #unhook = [];
  #wake = null;
  #error = null;
  #isOver = false;

  constructor(source, options) {
    this.#page = new Page(options);
    const sentAtMs = options.sentAtMs ?? performance.now();
    this.#nowS = () => (performance.now() - sentAtMs) / 1000;
    if (options.feedback) this.#feedback = new Feedback(options.feedback);
    this.#hook(options);
    // The arrivals are the engine's: nothing waits until somebody asks for the text.
    this.#pump(source).catch((error) => this.#end(error));
  }

  /** When tokens came and were shown, in seconds since the request was sent. */
  get log() {
    return this.#page.log;
  }

  /** Area QoE so far, of the tokens as they came and as they were shown. */
  get qoe() {
    return this.#page.qoe;
  }

  /** Tokens that came and were not shown. */
  get bufferTokens() {
    return this.#page.tokensLeft;
  }

  get isPaused() {
    return this.#page.isPaused;
  }

  get requestId() {
    return this.#feedback?.requestId ?? null;
  }

  pause() {
    if (this.#isOver || this.isPaused) return;
    this.#page.pause(this.#nowS());
    this.#feedback?.keepSaying(() => this.#state());
    this.#nudge();
  }

  resume() {
    if (this.#isOver || !this.isPaused) return;
    this.#page.resume(this.#nowS());
    this.#feedback?.settle();
    this.#feedback?.say(this.#state());
    this.#nudge();
  }

  /** Show all that has come now, and the rest as it comes; a pause is over. */
  skipToEnd() {
    this.resume();
    this.#page.flush(this.#nowS());
    this.speed(null);
  }

  /** Go on at `tds` tokens/s; null shows text as it comes. */
  speed(tds) {
    this.#page.speed(this.#nowS(), tds);
    if (tds !== null && !this.#isOver) this.#feedback?.say({ tds });
    this.#nudge();
  }

  /** Stop reading: the connection is closed, and whoever waits for text is done. */
  cancel() {
    this.#isOver = true;
    this.#error = null;
    this.#feedback?.settle();
    for (const unhook of this.#unhook.splice(0)) unhook();
    this.#stop.abort();
    this.#nudge();
  }

  async *[Symbol.asyncIterator]() {
    try {
      while (!this.#isOver) {
        const text = this.#page.look(this.#nowS());
        if (text !== "") yield text;
        else if (this.#page.isDone) break;
        else await this.#untilNext();
      }
      if (this.#error !== null) throw this.#error;
    } finally {
      if (!this.#isOver) this.cancel();
    }
  }

  async #pump(source) {
    for await (const delta of deltas(source, this.#stop.signal)) {
      if (this.#isOver) return;
      if (this.#feedback) this.#feedback.requestId ??= delta.id;
      this.#page.push(this.#nowS(), delta.text, delta.tokens);
      if (delta.allTokens !== null) this.#page.recount(this.#nowS(), delta.allTokens);
      this.#nudge();
    }
    this.#end(null);
  }

  /** What has come is shown in any case; the error comes after it. */
  #end(error) {
    if (this.#isOver) return;
    this.#error = error;
    this.#page.end();
    // There is no stream any more that could be told anything.
    this.#feedback?.settle();
    this.#feedback = null;
    this.#nudge();
  }

  #hook({ signal, visibility = globalThis.document }) {
    if (visibility) this.#unhook.push(pauseWhileHidden(this, visibility));
    if (!signal) return;
    const stop = () => {
      this.cancel();
      this.#error = signal.reason;
    };
    this.#unhook.push(() => signal.removeEventListener("abort", stop));
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
  }

  #state() {
    return { paused: this.isPaused, buffer_tokens: this.bufferTokens };
  }

  /** Until the next text is due, or something happened. */
  #untilNext() {
    const nextS = this.#page.nextAt();
    return new Promise((resolve) => {
      let timer = null;
      if (nextS !== null) {
        const waitMs = Math.max(0, (nextS - this.#nowS()) * 1000);
        timer = setTimeout(resolve, Math.min(waitMs, LONGEST_WAIT_MS));
      }
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #nudge() {
    this.#wake?.();
    this.#wake = null;
  }
}
