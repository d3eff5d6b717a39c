// What the page makes of the run that ships with it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { register } from "node:module";
import { test } from "node:test";

// The service has the pacer beside the page; here it lies where the project has it.
register(
  `data:text/javascript,${encodeURIComponent(`
    export const resolve = (name, context, next) =>
      next(name === "../pacer/index.js" ? "${new URL("../../pacer/js/index.js", import.meta.url)}" : name, context);
  `)}`,
);
const { POLICIES, decode, lookAt, passed } = await import("../../web/static/js/recording.js");
const { passage, wordsOf } = await import("../../web/static/js/passage.js");

const raw = JSON.parse(
  readFileSync(new URL("../../web/static/recorded.json", import.meta.url), "utf-8"),
);
const recording = decode(raw);

test("what is read never runs ahead of what came, nor back", () => {
  for (const reader of recording.readers) {
    for (const policy of POLICIES) {
      let last = { delivered: 0, read: 0 };
      for (let t = 0; t < recording.endS; t += 0.37) {
        const now = lookAt(reader, policy, t);
        assert.ok(now.read <= now.delivered && now.delivered <= reader.tokens);
        assert.ok(now.read >= last.read && now.delivered >= last.delivered);
        assert.ok(now.qoe >= 0 && now.qoe <= 1);
        last = now;
      }
    }
  }
});

test("every state has its time", () => {
  const reader = { tokens: 2, tds: 2, ttftS: 1 };
  const seen = { deliveredS: [3, 9], readS: [3, 9], qoe: 0.5, stallS: 5.5 };
  const at = (t) => lookAt({ ...reader, seen: { fcfs: seen } }, "fcfs", t);
  assert.equal(at(-1).state, "away");
  assert.equal(at(0.5).state, "asked");
  assert.equal(at(2).state, "waiting");
  assert.equal(at(2).waitedS, 2);
  assert.equal(at(3.2).state, "reading");
  assert.equal(at(5).state, "stalled");
  assert.equal(at(9.1).state, "reading");
  assert.equal(at(9.6).state, "done");
  assert.equal(at(9.6).qoe, 0.5);
  assert.equal(at(9.6).stallS, 5.5);
});

test("who waits for a first word loses from the expected TTFT on", () => {
  const [, , , reader] = recording.readers;
  const first = reader.seen.fcfs.deliveredS[0];
  assert.ok(first > 5);
  assert.equal(lookAt(reader, "fcfs", reader.ttftS).qoe, 1);
  assert.equal(lookAt(reader, "fcfs", first - 0.1).qoe, 0);
});

test("the score at the end is the recorded one", () => {
  recording.readers.forEach((reader, i) => {
    const { row } = raw.readers[i];
    for (const policy of POLICIES) {
      const endS = reader.seen[policy].deliveredS.at(-1);
      assert.equal(lookAt(reader, policy, endS).qoe, raw.runs[policy].qoe[row]);
    }
  });
});

test("the words of a passage come with its tokens, all of them with the last", () => {
  const words = passage(3, 100);
  assert.equal(words.length, 75);
  assert.equal(wordsOf(0, 100, words), 0);
  assert.equal(wordsOf(50, 100, words), 37);
  assert.equal(wordsOf(100, 100, words), 75);
  assert.equal(passage(0, 5000).length, 3750);
});

test("passed counts the times up to now", () => {
  assert.deepEqual(
    [0, 1, 1.5, 2, 9].map((t) => passed([1, 1, 2], t)),
    [0, 2, 2, 3, 3],
  );
});
