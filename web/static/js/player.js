// A clock that can be started, stopped, set and run faster.

// Whoever asks for less motion still gets the story, in steps.
const CALM_STEP_MS = 500;
// A tab that was hidden goes on where it was.
const LONGEST_FRAME_S = 0.1;

export class Player {
  #endS;
  #onTime;
  #onState;
  #isCalm;
  #frame = 0;
  #lastMs = 0;
  #shownMs = -Infinity;
  t = 0;
  speed = 1;

  constructor(endS, { onTime, onState }) {
    this.#endS = endS;
    this.#onTime = onTime;
    this.#onState = onState;
    this.#isCalm = window.matchMedia("(prefers-reduced-motion: reduce)");
  }

  get isPlaying() {
    return this.#frame !== 0;
  }

  play() {
    if (this.isPlaying) return;
    if (this.t >= this.#endS) this.t = 0;
    this.#lastMs = performance.now();
    this.#frame = requestAnimationFrame((ms) => this.#tick(ms));
    this.#onState();
  }

  pause() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#onState();
  }

  seek(t) {
    this.t = Math.max(0, Math.min(t, this.#endS));
    this.#onTime(this.t);
  }

  #tick(ms) {
    const passedS = Math.min((ms - this.#lastMs) / 1000, this.#isCalm.matches ? 1 : LONGEST_FRAME_S);
    this.#lastMs = ms;
    this.t = Math.min(this.t + Math.max(0, passedS) * this.speed, this.#endS);
    const isOver = this.t >= this.#endS;
    if (!this.#isCalm.matches || ms - this.#shownMs >= CALM_STEP_MS || isOver) {
      this.#shownMs = ms;
      this.#onTime(this.t);
    }
    if (isOver) this.pause();
    else this.#frame = requestAnimationFrame((next) => this.#tick(next));
  }
}
