// One reader: the text under either scheduler, one above the other or side by side.

import { curve } from "./curve.js";
import { passage, wordsOf } from "./passage.js";
import { POLICIES, lookAt } from "./recording.js";

export const NAMES = { fcfs: "First come, first served", andes: "Andes" };
const STATES = {
  away: "has not asked yet",
  asked: "has just asked",
  waiting: "waits for a first word",
  reading: "reads",
  stalled: "has nothing to read",
  done: "has read it all",
};

/** A list item for `reader`, and `show(t)` for the time since the burst began, up to `endS`. */
export function readerView(reader, endS) {
  const item = document.createElement("li");
  item.className = "reader";
  item.append(head(reader));
  const readS = Math.max(...POLICIES.map((p) => reader.seen[p].readS.at(-1)));
  const spanS = Math.min(endS - reader.arrivalS, readS + 1);
  const words = passage(reader.number - 1, reader.tokens);
  const panes = POLICIES.map((policy) => pane(reader, policy, words, spanS));
  item.append(...panes.map(({ element }) => element));
  return { element: item, show: (t) => panes.forEach((p) => p.show(t - reader.arrivalS)) };
}

function head(reader) {
  const title = document.createElement("h4");
  title.textContent = `Reader ${reader.number}`;
  const pace = document.createElement("span");
  pace.textContent = `asks at ${reader.arrivalS.toFixed(0)} s`;
  pace.title = `Reads ${reader.tds} tokens a second; an answer of ${reader.tokens} tokens.`;
  title.append(pace);
  return title;
}

function pane(reader, policy, words, spanS) {
  const element = document.createElement("section");
  element.className = `pane ${policy}`;
  element.setAttribute("aria-label", `Reader ${reader.number}, ${NAMES[policy]}`);
  const text = document.createElement("p");
  text.className = "text";
  const read = document.createElement("span");
  const ahead = document.createElement("span");
  ahead.className = "ahead";
  text.append(read, ahead);
  const state = document.createElement("p");
  state.className = "state";
  const drawn = curve(reader, policy, spanS);
  const figures = document.createElement("p");
  figures.className = "figures";
  element.append(text, state, drawn.element, figures);

  let last = "";
  const show = (t) => {
    const now = lookAt(reader, policy, t);
    const numRead = wordsOf(now.read, reader.tokens, words);
    const numDelivered = wordsOf(now.delivered, reader.tokens, words);
    drawn.reveal(t);
    const key = `${now.state} ${numRead} ${numDelivered}`;
    if (key !== last) {
      last = key;
      element.dataset.state = now.state;
      read.textContent = words.slice(0, numRead).join(" ");
      ahead.textContent = ` ${words.slice(numRead, numDelivered).join(" ")}`;
      follow(text, read);
    }
    set(state, stateText(now));
    set(figures, figuresText(now));
    figures.classList.toggle("low", now.state !== "away" && now.qoe < 0.95);
  };
  return { element, show };
}

/** Keep the word that is being read in sight. */
function follow(text, read) {
  const below = read.offsetTop + read.offsetHeight - text.clientHeight * 0.72;
  text.scrollTop = Math.max(0, below);
}

function stateText({ state, waitedS }) {
  if (state === "waiting") return `waiting ${waitedS.toFixed(0)} s`;
  return STATES[state];
}

function figuresText({ state, qoe, waitedS, stallS }) {
  if (state === "away") return "QoE –";
  const first = state === "asked" || state === "waiting" ? "" : ` · first word ${short(waitedS)}`;
  const stalls = stallS >= 0.05 ? ` · stalled ${short(stallS)}` : "";
  return `QoE ${qoe.toFixed(2)}${first}${stalls}`;
}

function short(seconds) {
  return `${seconds.toFixed(1)} s`;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
