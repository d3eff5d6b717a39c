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

/** Reads the items of one stream, in order. */
export class Chunks {
  /** Whether chunks came and none of them had a `finish_reason`. */
  isCut = false;
  // Completion tokens up to the last chunk; null: not every chunk said so.
  #counted = 0;

  /** What `item` adds, as `{text, tokens, id}`; null for nothing. */
  read(item) {
    if (typeof item === "string") return { text: item, tokens: item ? 1 : 0, id: null };
    if (item?.error) {
      throw new StreamError(String(item.error.message ?? item.error), item.error.code ?? null);
    }
    if (!Array.isArray(item?.choices)) {
      throw new TypeError("The stream yields neither text nor chunks of OpenAI's API.");
    }
    const counted = this.#newlyCounted(item);
    // Several choices are several answers, in chunks of their own, and a reader has one.
    const choice = item.choices.find((one) => !one.index);
    if (choice === undefined) return null;
    this.isCut = (choice.finish_reason ?? null) === null;
    const delta = deltaOf(choice, counted);
    return delta && { ...delta, id: item.id ?? null };
  }

  #newlyCounted(item) {
    const total = item.usage?.completion_tokens ?? null;
    const before = this.#counted;
    this.#counted = total;
    return before === null || total === null ? 0 : total - before;
  }
}

function deltaOf(choice, counted) {
  const { delta } = choice;
  const text = (delta ? delta.content : choice.text) ?? "";
  const isHidden = delta?.reasoning_content || delta?.reasoning || delta?.tool_calls;
  // Nobody reads these: they take no reading time.
  if (!text && isHidden) return null;
  const scored = choice.logprobs?.content ?? choice.logprobs?.tokens;
  const tokens = choice.token_ids?.length || scored?.length || counted || (text ? 1 : 0);
  return { text, tokens };
}
