// How many tokens a text is, where nobody counts them, and which of them is where. The rule
// and the numbers are the ones of `pacer/tokens.py`, which says why.

const WORTH = {
  space: 0.03,
  control: 0.2,
  number: 1.0,
  han: 0.9,
  kana: 0.6,
  hangul: 0.65,
  ascii: 0.25,
  latin: 0.6,
  cyrillic: 0.33,
  letter: 0.45,
  punctuation: 0.6,
  astral: 2.0,
  other: 0.9,
};
const WORD_LETTERS = 10;
const WORTH_PAST_WORD = 0.6;
const ALPHABETS = new Set(["ascii", "latin", "cyrillic", "letter"]);
export const PLAUSIBLE = 3;
const LEAST_DELTAS = 8;
const MOST_WORTH = 1.5;
const SEVERAL_SHARE = 0.1;
const PRIOR_TOKENS = 20;
const ROUNDING = 1e-9;

// Each code point is of the first kind that it matches.
const KINDS = Object.entries({
  space: / /u,
  control: /[\x00-\x1f]/u,
  ascii: /[A-Za-z]/u,
  number: /\p{N}/u,
  punctuation: /[\x21-\x7e]/u,
  han: /\p{Script=Han}/u,
  kana: /[\p{Script=Hiragana}\p{Script=Katakana}]/u,
  hangul: /\p{Script=Hangul}/u,
  latin: /\p{Script=Latin}/u,
  cyrillic: /\p{Script=Cyrillic}/u,
  letter: /[\p{L}\p{M}]/u,
  astral: /[\u{10000}-\u{10ffff}]/u,
  other: /./su,
});
const SPANS_WORDS = /\S\s+\S|[\p{L}\p{N}] +$/u;

/** Says of which token each character of one stream is a part. */
export class Tokens {
  begun = 0;
  #worth = 0;
  #letters = 0;
  // The token in which the word began that the text ends with.
  #word = null;
  #deltas = 0;
  #several = 0;
  #worthOfDeltas = 0;
  #counted = priors();
  #estimated = priors();

  /**
   * The number of the token of each UTF-16 unit of `text`, which is not empty.
   *
   * @param {number | null} counted How many tokens it is made of; null if nobody says so.
   */
  place(text, counted = null) {
    const points = [...text];
    const { kinds, worths } = this.#weigh(points);
    const one = counted === null && this.#isOneToken(text, sum(worths)) ? 1 : null;
    const count = counted ?? one;
    let places;
    if (count !== null) {
      this.#learn(kinds, worths, count);
      places = this.#spread(points.length, count);
    } else {
      places = this.#estimate(kinds, worths);
    }
    return points.flatMap((point, i) => new Array(point.length).fill(places[i]));
  }

  #estimate(kinds, worths) {
    const places = kinds.map((kind, i) => {
      const place = Math.floor(this.#worth + ROUNDING);
      this.#worth += (worths[i] * this.#counted[kind]) / this.#estimated[kind];
      if (!ALPHABETS.has(kind)) this.#word = null;
      else this.#word ??= place;
      return this.#word === null ? place : Math.max(this.#word, place - 1);
    });
    this.begun = places[places.length - 1] + 1;
    return places;
  }

  #weigh(points) {
    const kinds = points.map((point) => KINDS.find(([, is]) => is.test(point))[0]);
    const worths = kinds.map((kind) => {
      this.#letters = ALPHABETS.has(kind) ? this.#letters + 1 : 0;
      return this.#letters > WORD_LETTERS ? WORTH_PAST_WORD : WORTH[kind];
    });
    return { kinds, worths };
  }

  #isOneToken(text, worth) {
    const isSeveral = worth > PLAUSIBLE || SPANS_WORDS.test(text);
    this.#deltas += 1;
    this.#several += isSeveral ? 1 : 0;
    this.#worthOfDeltas += worth;
    const mean = this.#worthOfDeltas / this.#deltas;
    return (
      !isSeveral &&
      this.#deltas >= LEAST_DELTAS &&
      this.#several <= SEVERAL_SHARE * this.#deltas &&
      mean >= 1 / PLAUSIBLE &&
      mean <= MOST_WORTH
    );
  }

  #learn(kinds, worths, counted) {
    const scale = counted / sum(worths);
    kinds.forEach((kind, i) => {
      this.#counted[kind] += worths[i] * scale;
      this.#estimated[kind] += worths[i];
    });
  }

  #spread(length, counted) {
    const first = this.begun;
    this.begun += counted;
    this.#worth = this.begun;
    this.#word = null;
    return Array.from({ length }, (_, i) => first + Math.floor((i * counted) / length));
  }
}

function priors() {
  return Object.fromEntries(Object.keys(WORTH).map((kind) => [kind, PRIOR_TOKENS]));
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}
