// Whatever streams text, as deltas `{text, tokens, allTokens, id}`.

import { Chunks, StreamError } from "./chunks.js";

/**
 * The deltas of a fetch Response or byte stream of OpenAI server-sent events, or of an
 * iterable of texts or OpenAI chunks; or of a promise of one of them.
 *
 * @param {AbortSignal} [stop] Closes the connection at once, also while it is silent.
 * @throws {StreamError} The service says that it failed, or its events break off.
 */
export async function* deltas(source, stop = new AbortController().signal) {
  const from = await source;
  whenStopped(stop, () => close(from));
  if (typeof Response !== "undefined" && from instanceof Response) {
    if (!from.ok) throw await refusal(from);
    yield* ofReadable(from.body, stop, true);
  } else if (typeof from?.getReader === "function") {
    yield* ofReadable(from, stop);
  } else if (from?.[Symbol.asyncIterator] || from?.[Symbol.iterator]) {
    yield* ofItems(from);
  } else {
    throw new TypeError("paced() takes a Response, a ReadableStream or an async iterable.");
  }
}

/** The streams of bytes are server-sent events; those of anything else are items. */
async function* ofReadable(stream, stop, isEvents = false) {
  const items = piecesOf(stream, stop);
  try {
    const { value, done } = await items.next();
    if (done && !isEvents) return;
    const all = done ? [] : chained(value, items);
    yield* isEvents || value instanceof Uint8Array ? ofEvents(all) : ofItems(all);
  } finally {
    await items.return();
  }
}

async function* ofItems(items) {
  const chunks = new Chunks();
  for await (const item of items) {
    const delta = chunks.read(item);
    if (delta !== null) yield delta;
  }
  if (chunks.isCut) throw new StreamError("The stream broke off: nothing says it finished.");
}

/** OpenAI's events, whole lines whatever pieces they come in. */
async function* ofEvents(pieces) {
  const chunks = new Chunks();
  for await (const data of dataLines(pieces)) {
    if (data === "[DONE]") return;
    const delta = chunks.read(JSON.parse(data));
    if (delta !== null) yield delta;
  }
  throw new StreamError("The stream broke off: it ended without [DONE].");
}

async function* dataLines(pieces) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const piece of pieces) {
    rest += decoder.decode(piece, { stream: true });
    const lines = rest.split(/\r\n|\n|\r(?=.)/s);
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data:")) yield line.slice(5).trim();
    }
  }
  if (rest.trim() === "data: [DONE]") yield "[DONE]";
}

async function* piecesOf(stream, stop) {
  const reader = stream.getReader();
  // A read that waits is over with it.
  const cancel = () => reader.cancel().catch(() => {});
  whenStopped(stop, cancel);
  let isDone = false;
  try {
    while (true) {
      const { value, done } = await reader.read();
      isDone = done;
      if (done) return;
      yield value;
    }
  } finally {
    // Who stops reading closes the connection, and the engine stops writing.
    if (!isDone) await cancel();
  }
}

async function* chained(first, rest) {
  yield first;
  yield* rest;
}

function whenStopped(stop, then) {
  if (stop.aborted) then();
  else stop.addEventListener("abort", then, { once: true });
}

/** What can be closed from outside: OpenAI's SDK keeps the connection's controller there. */
function close(from) {
  from?.controller?.abort?.();
}

async function refusal(response) {
  const body = await response.text();
  let message = body;
  try {
    message = JSON.parse(body).error.message ?? body;
  } catch {
    // A proxy answers in words of its own.
  }
  const status = response.status;
  return new StreamError(message || `The service answered ${status}.`, status);
}
