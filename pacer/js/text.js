// What may be shown of a text that is still being written: whole characters, whole words.
// The rule is the one of `pacer/text.py`.

const MAX_WORD = 32;
const OFTEN_GOES_ON =
  /\p{Extended_Pictographic}|^\p{Regional_Indicator}$|[\u200d\ufe0f\r\ud800-\udbff]$|^[\u1100-\u115f\ua960-\ua97c]+$/u;
const IS_A_WORD_OF_ITS_OWN =
  /^[\s\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

const segmenter = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** The text of one stream that has not been shown; pieces are `{text, first, last}`. */
export class Text {
  #words;
  #holdS;
  #settled = [];
  #word = [];
  #tail = null;
  #tailAt = 0;

  constructor(words, holdS) {
    this.#words = words;
    this.#holdS = holdS;
  }

  /** `text`, not empty, arrived; its UTF-16 units are parts of these `tokens`. */
  push(t, text, tokens) {
    const tail = this.#tail ?? { text: "", first: tokens[0], last: tokens[0] };
    this.#tail = null;
    // Of the delta; what is left of the one before lies before 0.
    let position = -tail.text.length;
    for (const { segment } of segmenter.segment(tail.text + text)) {
      const end = position + segment.length;
      const begins = position < 0 ? tail.first : tokens[position];
      const ends = end <= 0 ? tail.last : tokens[end - 1];
      position = end;
      this.#advance({ text: segment, first: begins, last: ends });
    }
    this.#tailAt = t;
  }

  /** Let go of a last cluster that has been held for long enough. */
  settle(t) {
    const dueS = this.settlesAt;
    if (dueS !== null && dueS <= t) this.#advance(null);
  }

  /** Let go of the last word, but for a cluster that may go on. */
  settleWords() {
    if (this.#word.length === 0) return;
    const word = this.#word;
    this.#word = [];
    this.#show({
      text: word.map((piece) => piece.text).join(""),
      first: word[0].first,
      last: word[word.length - 1].last,
    });
  }

  /** No more text will come. */
  end() {
    this.#advance(null);
    this.settleWords();
  }

  /** When the last cluster has been held for long enough; null: not by waiting. */
  get settlesAt() {
    if (this.#tail === null || OFTEN_GOES_ON.test(this.#tail.text)) return null;
    return this.#tailAt + this.#holdS;
  }

  /** Whether `take` has something to give. */
  canTake(released) {
    return this.#settled.length > 0 && this.#settled[0].last < released;
  }

  /** The text of the first `released` tokens that was not taken and may be shown. */
  take(released) {
    let taken = "";
    while (this.canTake(released)) {
      taken += this.#settled.shift().text;
    }
    return taken;
  }

  /** Index of the token in which the text not taken begins; null: all was taken. */
  get firstHidden() {
    const hidden = this.#settled[0] ?? this.#word[0] ?? this.#tail;
    return hidden === null ? null : hidden.first;
  }

  /** `tail` is now the last cluster, and the one before it is whole. */
  #advance(tail) {
    const before = this.#tail;
    this.#tail = tail;
    if (before === null) return;
    if (!this.#words) {
      this.#show(before);
      return;
    }
    if (IS_A_WORD_OF_ITS_OWN.test(before.text)) {
      this.settleWords();
      this.#show(before);
    } else {
      this.#word.push(before);
    }
    const endsWord = tail !== null && IS_A_WORD_OF_ITS_OWN.test(tail.text);
    if (endsWord || this.#word.length >= MAX_WORD) this.settleWords();
  }

  #show(piece) {
    const last = this.#settled[this.#settled.length - 1];
    if (last !== undefined && last.last === piece.last) last.text += piece.text;
    else this.#settled.push({ ...piece });
  }
}
