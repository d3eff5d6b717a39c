// What has come and what is shown, while a stream runs.

const PERIOD_MS = 150;

export class Meter {
  #bar;
  #says;
  #timer = null;

  /** @param {HTMLElement} bar With two children: what was shown, and what waits. */
  constructor(bar, says) {
    this.#bar = bar;
    this.#says = says;
  }

  /** Show the numbers of `stream` until `stop`. */
  follow(stream) {
    this.stop();
    const look = () => this.#look(stream);
    this.#timer = setInterval(look, PERIOD_MS);
    this.#stream = stream;
    look();
  }

  stop() {
    clearInterval(this.#timer);
    if (this.#stream) this.#look(this.#stream);
    this.#stream = null;
  }

  #stream = null;

  #look({ log, bufferTokens }) {
    const delivered = log.delivered.length;
    const shown = log.shown.length;
    const share = (n) => `${((n / Math.max(delivered, 1)) * 100).toFixed(1)}%`;
    this.#bar.children[0].style.width = share(shown);
    this.#bar.children[1].style.width = share(bufferTokens);
    this.#says.textContent =
      `${delivered} tokens delivered · ${shown} shown · ${bufferTokens} in the buffer`;
  }
}
