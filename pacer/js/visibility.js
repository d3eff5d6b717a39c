// A reader who looks elsewhere has paused; its stream may give way to others.

// The service forgets a pause that nobody repeats (after 60 s), and words may be lost.
const REPEAT_MS = 20_000;

/**
 * Pauses `stream` while `page` (a `document`) is hidden.
 *
 * @returns {() => void} Stops that.
 */
export function pauseWhileHidden(stream, page) {
  let isOurs = false;
  const look = () => {
    const isHidden = page.visibilityState === "hidden";
    if (isHidden && !stream.isPaused) {
      isOurs = true;
      stream.pause();
    } else if (!isHidden && isOurs) {
      isOurs = false;
      stream.resume();
    }
  };
  page.addEventListener("visibilitychange", look);
  look();
  return () => page.removeEventListener("visibilitychange", look);
}

/**
 * Tells the service what its reader does: `POST <url>/<request id>`, answers unread. Words
 * that are lost are harmless, and so is a service that takes none.
 */
export class Feedback {
  #url;
  #headers;
  #fetch;
  #repeat = null;
  requestId;

  constructor({ url, requestId = null, headers = {}, fetch = globalThis.fetch }) {
    this.#url = url.replace(/\/$/, "");
    this.#headers = { "content-type": "application/json", ...headers };
    // A browser's fetch is nobody's method: called as one it throws.
    this.#fetch = (...asked) => fetch(...asked);
    this.requestId = requestId;
  }

  /** @param {() => object} state What is said, now and until `settle`. */
  keepSaying(state) {
    this.settle();
    this.say(state());
    this.#repeat = setInterval(() => this.say(state()), REPEAT_MS);
    // Nobody's process should live on for it.
    this.#repeat.unref?.();
  }

  settle() {
    clearInterval(this.#repeat);
    this.#repeat = null;
  }

  say(state) {
    if (this.requestId === null) return;
    const url = `${this.#url}/${encodeURIComponent(this.requestId)}`;
    const body = JSON.stringify(state);
    try {
      const told = this.#fetch(url, {
        method: "POST",
        headers: this.#headers,
        body,
        keepalive: true,
      });
      Promise.resolve(told).catch(() => {});
    } catch {
      // The stream is what matters.
    }
  }
}
