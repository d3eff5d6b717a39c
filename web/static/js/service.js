// The service that serves this page: its API lies beside it.

export const API = new URL("../v1/", document.baseURI);
const TINY_MODEL = "tiny-llama";

let key = "";

/** For the requests of this page, until it is closed. */
export function setKey(text) {
  key = text.trim();
}

export function headers() {
  return key === "" ? {} : { authorization: `Bearer ${key}` };
}

/**
 * The model that is served.
 *
 * @returns {Promise<{id: string | null, isTiny: boolean, wantsKey: boolean}>}
 */
export async function findModel() {
  const answer = await fetch(new URL("models", API), { headers: headers() });
  if (answer.status === 401) return { id: null, isTiny: false, wantsKey: true };
  if (!answer.ok) throw new Error(`the service answers ${answer.status}`);
  const { data } = await answer.json();
  return { id: data[0].id, isTiny: data[0].id === TINY_MODEL, wantsKey: false };
}

/** Ask for a streamed answer that is read at `tds` tokens/s; null: by nobody. */
export function ask(model, prompt, { ttftS, tds, maxTokens }) {
  const fields =
    tds === null ? { qoe_profile: "none" } : { qoe_ttft_s: ttftS, qoe_tds: tds };
  return fetch(new URL("chat/completions", API), {
    method: "POST",
    headers: { "content-type": "application/json", ...headers() },
    body: JSON.stringify({
      model,
      messages: [{ role: "user", content: prompt }],
      stream: true,
      // A chunk may be several tokens: this says how many.
      stream_options: { include_usage: true, continuous_usage_stats: true },
      max_tokens: maxTokens,
      vllm_xargs: fields,
    }),
  });
}
