// Streams of a real HTTP server on this machine, read through `paced`.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { paced, PROFILES, StreamError } from "../../../pacer/js/index.js";

const AS_IT_COMES = { profile: "none" };
const FAST = { tds: 1000 };

const posted = [];
const routes = {};
let server;
let base;

before(async () => {
  server = createServer(async (request, response) => {
    if (request.method === "POST" && request.url.startsWith("/v1/qoe/")) {
      let body = "";
      for await (const piece of request) body += piece;
      posted.push({ url: request.url, ...JSON.parse(body) });
      response.writeHead(500).end();
      return;
    }
    await routes[request.url](request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  base = `http://127.0.0.1:${server.address().port}`;
});

after(() => {
  server.closeAllConnections();
  server.close();
});

/** A token, counted. */
function chunk(content, id = "chatcmpl-abc") {
  const choice = { index: 0, delta: { content }, token_ids: [1] };
  return `data: ${JSON.stringify({ id, choices: [choice] })}\n\n`;
}

/** Serves these events, with pauses where there is a number of ms. */
function serve(path, events, { status = 200, end = (r) => r.end() } = {}) {
  routes[path] = async (_, response) => {
    response.writeHead(status, { "content-type": "text/event-stream" });
    for (const event of events) {
      if (typeof event === "number") await sleep(event);
      else response.write(event);
    }
    end(response);
  };
  return () => fetch(base + path);
}

async function read(stream, shown = []) {
  for await (const text of stream) shown.push(text);
  return shown.join("");
}

/** A tab that can be hidden. */
class Tab extends EventTarget {
  visibilityState = "visible";
  look(state) {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

test("events in any pieces are one text", async () => {
  const bytes = chunk("né ") + chunk("👩‍🚀") + ": a comment\r\n\r\ndata: [DONE]\n\n";
  const whole = Buffer.from(bytes);
  for (const size of [1, 2, 3, 7, 1000]) {
    const pieces = [];
    for (let i = 0; i < whole.length; i += size) pieces.push(whole.subarray(i, i + size));
    const body = ReadableStream.from(pieces.map((piece) => new Uint8Array(piece)));
    assert.equal(await read(paced(body, FAST)), "né 👩‍🚀");
  }
});

test("of several answers only the first is read", async () => {
  async function* answers() {
    yield { choices: [{ index: 0, delta: { content: "one" } }] };
    yield { choices: [{ index: 1, delta: { content: "another" }, finish_reason: "stop" }] };
    yield { choices: [{ index: 0, delta: { content: " two" }, finish_reason: "stop" }] };
  }
  let text = "";
  for await (const piece of paced(answers(), AS_IT_COMES)) text += piece;
  assert.equal(text, "one two");
});

test("a promise of a response, a body, texts and chunks are all streams", async () => {
  const ask = serve("/all", [chunk("a"), chunk("b"), "data: [DONE]\n\n"]);
  async function* chunks() {
    yield { id: "cmpl-1", choices: [{ text: "a" }] };
    yield { id: "cmpl-1", choices: [{ text: "b", finish_reason: "stop" }] };
    yield { id: "cmpl-1", choices: [], usage: { completion_tokens: 2 } };
  }
  const sources = [
    ask(),
    await ask(),
    (await ask()).body,
    ["a", "b"],
    ReadableStream.from(["a", "b"]),
    chunks(),
  ];
  for (const source of sources) assert.equal(await read(paced(source, FAST)), "ab");
});

test("text is shown at the pace, the first token at once", async () => {
  const tokens = Array.from({ length: 9 }, (_, i) => ({
    choices: [{ text: ` ${i}`, token_ids: [i], finish_reason: "stop" }],
  }));
  const stream = paced(tokens, { tds: 20 });
  await read(stream);
  const { shown } = stream.log;
  shown.forEach((t, i) => assert.ok(t >= i / 20 - 0.001, `${i} at ${t}`));
  assert.ok(shown[8] < 8 / 20 + 5);
  assert.equal(stream.qoe.shown, 1);
  assert.equal(stream.bufferTokens, 0);
});

test("what was received is shown, and then the error of the service is thrown", async () => {
  const failed = `data: ${JSON.stringify({ error: { message: "engine died", code: 500 } })}\n\n`;
  const ask = serve("/error", [chunk("some "), chunk("text"), failed, "data: [DONE]\n\n"]);
  const shown = [];
  await assert.rejects(read(paced(ask(), FAST), shown), (error) => {
    assert.ok(error instanceof StreamError);
    assert.equal(error.status, 500);
    assert.match(error.message, /engine died/);
    return true;
  });
  assert.equal(shown.join(""), "some text");
});

test("what was received is shown, and then a broken connection is an error", async () => {
  const cut = { end: (response) => setTimeout(() => response.destroy(), 50) };
  const ask = serve("/cut", [chunk("some "), chunk("text")], cut);
  const shown = [];
  await assert.rejects(read(paced(ask(), { tds: 5 }), shown));
  assert.equal(shown.join(""), "some text");
});

test("a stream that ends without its end is an error", async () => {
  const shown = [];
  const ask = serve("/short", [chunk("some")]);
  await assert.rejects(read(paced(ask(), FAST), shown), /broke off/);
  assert.equal(shown.join(""), "some");
});

test("chunks that nothing finishes are an error", async () => {
  async function* chunks() {
    yield { choices: [{ delta: { content: "some" } }] };
  }
  const shown = [];
  await assert.rejects(read(paced(chunks(), FAST), shown), /broke off/);
  assert.equal(shown.join(""), "some");
});

test("tokens are counted as far as the chunks tell, and nobody reads reasoning", async () => {
  const finish_reason = "stop";
  const told = [
    [{ choices: [{ text: "several", token_ids: [1, 2, 3], finish_reason }] }, 3],
    [{ choices: [{ delta: { content: "several" }, logprobs: { content: [{}, {}] }, finish_reason }] }, 2],
    [{ choices: [{ delta: { content: "several" }, finish_reason }], usage: { completion_tokens: 4 } }, 4],
    [{ choices: [{ delta: { reasoning_content: "hm" }, token_ids: [1], finish_reason }] }, 0],
  ];
  for (const [chunk_, tokens] of told) {
    const stream = paced([chunk_], AS_IT_COMES);
    await read(stream);
    assert.equal(stream.log.delivered.length, tokens);
  }
});

test("a refusal is thrown with its status and the service's words", async () => {
  const body = JSON.stringify({ error: { message: "qoe_tds=-1 is invalid" } });
  const ask = serve("/refused", [body], { status: 400 });
  await assert.rejects(read(paced(ask(), FAST)), { status: 400, message: /qoe_tds=-1/ });
  const down = serve("/down", ["no backend"], { status: 503 });
  await assert.rejects(read(paced(down(), FAST)), { status: 503, message: "no backend" });
});

test("who stops reading closes the connection, also of a silent stream", async () => {
  for (const leave of [
    async (stream) => {
      for await (const _ of stream) break;
    },
    async (stream) => {
      setTimeout(() => stream.cancel(), 30);
      await read(stream);
    },
  ]) {
    const closed = deferred();
    routes["/silent"] = (request, response) => {
      response.on("close", closed.resolve);
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(chunk("first"));
    };
    await leave(paced(fetch(`${base}/silent`), AS_IT_COMES));
    await Promise.race([
      closed.promise,
      sleep(1000, null, { ref: false }).then(() => assert.fail("still open after 1 s")),
    ]);
  }
});

test("an abort ends the text with its reason", async () => {
  const abort = new AbortController();
  serve("/abort", [chunk("first"), 10_000]);
  const stream = paced(fetch(`${base}/abort`), { ...AS_IT_COMES, signal: abort.signal });
  setTimeout(() => abort.abort(new Error("enough")), 50);
  await assert.rejects(read(stream), /enough/);
});

test("a hidden tab pauses the text and tells the service, a visible one goes on", async () => {
  posted.length = 0;
  const tab = new Tab();
  const ask = serve("/tab", [chunk("a "), chunk("b "), chunk("c "), 300, "data: [DONE]\n\n"]);
  const feedback = { url: `${base}/v1/qoe/` };
  const stream = paced(ask(), { tds: 10, words: true, visibility: tab, feedback });
  const shown = [];
  const reading = read(stream, shown);
  while (!shown.length) await sleep(5);
  tab.look("hidden");
  await sleep(150);
  assert.equal(shown.join(""), "a ");
  assert.ok(stream.isPaused);
  tab.look("visible");
  await reading;
  assert.equal(shown.join(""), "a b c ");
  assert.deepEqual(posted, [
    { url: "/v1/qoe/chatcmpl-abc", paused: true, buffer_tokens: 2 },
    { url: "/v1/qoe/chatcmpl-abc", paused: false, buffer_tokens: 2 },
  ]);
});

test("a tab that comes back does not end a pause of the reader", async () => {
  const tab = new Tab();
  const stream = paced(["a", "b"], { tds: 10, visibility: tab });
  stream.pause();
  tab.look("hidden");
  tab.look("visible");
  assert.ok(stream.isPaused);
  stream.resume();
  assert.equal(await read(stream), "ab");
});

test("another pace is told to the service", async () => {
  posted.length = 0;
  const ask = serve("/pace", [chunk("a "), chunk("b "), 100, "data: [DONE]\n\n"]);
  const feedback = { url: `${base}/v1/qoe`, requestId: "mine" };
  const stream = paced(ask(), { feedback });
  setTimeout(() => stream.speed(50), 40);
  await read(stream);
  assert.deepEqual(posted, [{ url: "/v1/qoe/mine", tds: 50 }]);
});

test("a service without feedback is no error", async () => {
  const nowhere = { url: "http://127.0.0.1:9/v1/qoe", requestId: "mine" };
  const stream = paced(["a", "b"], { tds: 50, feedback: nowhere });
  stream.pause();
  stream.resume();
  assert.equal(await read(stream), "ab");
});

test("an option out of range is refused by name, value and range", () => {
  const cases = [
    [{ tds: 0 }, /tds=0 is invalid: it must be 0.01 to 1000 tokens\/s/],
    [{ tds: "5" }, /tds="5" is invalid/],
    [{ ttftS: NaN }, /ttftS=null is invalid: it must be 0.01 to 600 seconds/],
    [{ catchUp: 0.5 }, /catchUp=0.5 is invalid/],
    [{ atEnd: "stop" }, /atEnd="stop" is invalid: it must be flush or pace/],
    [{ profile: "skimming" }, /profile="skimming" is invalid: it must be one of reading/],
  ];
  for (const [options, message] of cases) {
    assert.throws(() => paced([], options), { name: "RangeError", message });
  }
  assert.equal(PROFILES.reading.tds, 4.8);
});

test("a source that streams nothing is refused", async () => {
  await assert.rejects(read(paced(42)), /Response, a ReadableStream or an async iterable/);
});

function deferred() {
  let resolve;
  const promise = new Promise((r) => (resolve = r));
  return { promise, resolve };
}
