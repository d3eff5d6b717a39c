// What npm tooling and type checkers are told is what is there.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const FOLDER = new URL("../../../pacer/js/", import.meta.url);
const manifest = JSON.parse(readFileSync(new URL("package.json", FOLDER), "utf-8"));
const entry = manifest.exports["."];

test("every export has a type, and every typed value is there", async () => {
  const module_ = await import(new URL(entry.default, FOLDER));
  const types = readFileSync(new URL(entry.types, FOLDER), "utf-8");
  const typed = [...types.matchAll(/^export (?:const|function|class) (\w+)/gm)];
  assert.deepEqual(Object.keys(module_).sort(), typed.map(([, name]) => name).sort());
});

test("a package depends on nothing", () => {
  assert.equal(manifest.type, "module");
  assert.equal(manifest.dependencies, undefined);
});
