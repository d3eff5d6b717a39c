// Deltas out of what streams yield: text, or chunks of the OpenAI API. The rules are the
// ones of `pacer/chunks.py`.

/** The service answered with an error, or ended its stream with one, or without an end. */
export class StreamError extends Error {
  /** @param {number | null} status Of the HTTP answer or of the error event. */
  constructor(message, status = null) {
    super(message);
    this.name = "StreamError";
    this.status = status;
  }
}

const NOTHING = Object.freeze({ text: "", tokens: null, allTokens: null, id: null });

/** Reads the items of one stream, in order. */
export class Chunks {
  /** Whether chunks came and none of them had a `finish_reason`. */
  isCut = false;
  // Completion tokens up to the last chunk; null: it did not say.
  #counted = 0;
  // Whether text came uncounted, and what else came that a total counts too.
  #isUncounted = false;
  #hasReasoned = false;
  #hasMore = false;

  /** What `item` adds, as `{text, tokens, allTokens, id}`; null for nothing. */
  read(item) {
    if (typeof item === "string") return { ...NOTHING, text: item };
    if (item?.error) {
      throw new StreamError(String(item.error.message ?? item.error), item.error.code ?? null);
    }
    const { choices } = item ?? {};
    if (!Array.isArray(choices)) {
      throw new TypeError("The stream yields neither text nor chunks of OpenAI's API.");
    }
    const id = item.id ?? null;
    // Other choices are other answers; a chunk without any has the usage of all.
    const choice = choices.find((one) => !one.index);
    if (choices.length > (choice === undefined ? 0 : 1)) this.#hasMore = true;
    if (choice === undefined) {
      if (choices.length > 0) return null;
      const allTokens = this.#allTokens(item.usage);
      return allTokens === null ? null : { ...NOTHING, allTokens, id };
    }
    this.isCut = (choice.finish_reason ?? null) === null;
    return this.#delta(choice, item.usage, id);
  }

  #delta(choice, usage, id) {
    const delta = choice.delta ?? choice;
    const text = delta.content || delta.text || delta.refusal || "";
    const reasoning = choice.delta?.reasoning_content || choice.delta?.reasoning;
    const calls = choice.delta?.tool_calls?.length ? choice.delta.tool_calls : null;
    if (reasoning) this.#hasReasoned = true;
    if (calls) this.#hasMore = true;
    const newlyCounted = this.#newlyCounted(usage);
    // Nobody reads these: they take no reading time.
    if (!text && (reasoning || calls)) return null;
    const scored = choice.logprobs?.content ?? choice.logprobs?.tokens;
    const tokens = choice.token_ids?.length || scored?.length || newlyCounted || null;
    if (text && tokens === null) this.#isUncounted = true;
    return { text, tokens, allTokens: this.#allTokens(usage), id };
  }

  #newlyCounted(usage) {
    const total = usage?.completion_tokens ?? null;
    const before = this.#counted;
    this.#counted = total;
    return before === null || total === null ? 0 : total - before;
  }

  /** The tokens of all text, where they can be told from those of anything else. */
  #allTokens(usage) {
    const total = usage?.completion_tokens ?? null;
    const hidden = usage?.completion_tokens_details?.reasoning_tokens || 0;
    const isKnown = this.#isUncounted && !this.#hasMore && !(this.#hasReasoned && !hidden);
    return total === null || !isKnown ? null : total - hidden;
  }
}
