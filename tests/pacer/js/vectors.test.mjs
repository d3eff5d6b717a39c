// The cases of `pacer/vectors.json`: what Python shows, JavaScript shows, and when.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Page } from "../../../pacer/js/index.js";

const CASES = JSON.parse(
  readFileSync(new URL("../../../pacer/vectors.json", import.meta.url), "utf-8"),
);
const SAME_S = 0.001;

function options({ tds, ttft_s, catch_up, at_end, whole_words, hold_s }) {
  return {
    tds,
    ttftS: ttft_s,
    catchUp: catch_up,
    atEnd: at_end,
    words: whole_words,
    holdS: hold_s,
  };
}

function apply(page, { t, type, text, tokens, tds }) {
  if (type === "delta") page.push(t, text, tokens === undefined ? 1 : tokens);
  else if (type === "recount") page.recount(t, tokens);
  else if (type === "end") page.end();
  else if (type === "speed") page.speed(t, tds);
  else page[type](t);
}

/** What an ideal timer shows: it looks whenever something is due. */
function play(case_) {
  const page = new Page(options(case_.options));
  const shown = [];
  const look = (t) => {
    const text = page.look(t);
    const last = shown[shown.length - 1];
    if (text && last && t - last.t < SAME_S) last.text += text;
    else if (text) shown.push({ t, text });
  };
  const lookUntil = (endS) => {
    for (let due = page.nextAt(); due !== null && due <= endS; due = page.nextAt()) look(due);
  };
  for (const event of case_.events) {
    lookUntil(event.t);
    apply(page, event);
    look(event.t);
  }
  lookUntil(Infinity);
  return { shown, page };
}

function assertTimes(actual, expected) {
  assert.equal(actual.length, expected.length);
  actual.forEach((t, i) => assert.ok(Math.abs(t - expected[i]) <= SAME_S, `${i}: ${t}`));
}

assert.ok(CASES.length >= 20);
for (const case_ of CASES) {
  test(case_.name, () => {
    const { shown, page } = play(case_);
    assert.deepEqual(
      shown.map(({ text }) => text),
      case_.shown.map(({ text }) => text),
    );
    assertTimes(
      shown.map(({ t }) => t),
      case_.shown.map(({ t }) => t),
    );
    assertTimes(page.log.delivered, case_.log.delivered);
    assertTimes(page.log.shown, case_.log.shown);
    for (const of of ["delivered", "shown"]) {
      assert.ok(Math.abs(page.qoe[of] - case_.qoe[of]) <= 0.001, `${of} ${page.qoe[of]}`);
    }
  });
}
