// Deltas of several tokens that nobody counts, and the way to the end of them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { paced } from "../../../pacer/js/index.js";

// 16 tokens of Tekken.
const SENTENCE = "Spring was moving in the air above and in the earth below and around him. ";

async function read(stream, shown = []) {
  for await (const text of stream) shown.push(text);
  return shown.join("");
}

test("several tokens that nobody counts are paced as several", async () => {
  for (const deltas of [[SENTENCE.repeat(2)], SENTENCE.repeat(2).match(/.{1,37}/gs)]) {
    const stream = paced(deltas, { tds: 40 });
    const shown = [];
    assert.equal(await read(stream, shown), SENTENCE.repeat(2));
    assert.ok(Math.abs(stream.log.shown.length - 32) <= 5, `${stream.log.shown.length}`);
    assert.ok(stream.log.shown.at(-1) - stream.log.shown[0] >= 26 / 40);
    assert.ok(shown.length > 16);
  }
});

test("a total at the end paces what is left", async () => {
  const choices = [{ delta: { content: SENTENCE }, finish_reason: "stop" }];
  const total = { choices: [], usage: { completion_tokens: 32 } };
  const stream = paced([{ choices }, total], { tds: 40 });
  assert.equal(await read(stream), SENTENCE);
  assert.ok(stream.log.shown.at(-1) - stream.log.shown[0] >= 26 / 40);
});

test("who skips to the end is there, also from a pause", async () => {
  async function* slow() {
    yield SENTENCE;
    await sleep(100);
    yield SENTENCE;
  }
  const stream = paced(slow(), { tds: 1 });
  stream.pause();
  setTimeout(() => stream.skipToEnd(), 30);
  const sinceMs = performance.now();
  assert.equal(await read(stream), SENTENCE.repeat(2));
  assert.ok(performance.now() - sinceMs < 10_000);
  assert.ok(!stream.isPaused);
  assert.equal(stream.bufferTokens, 0);
});

test("the halves of a character are one", async () => {
  const shown = [];
  await read(paced(["a\ud83d", "\ude00b"], { profile: "none", holdS: 0 }), shown);
  assert.ok(shown.every((text) => text.isWellFormed()), JSON.stringify(shown));
});
