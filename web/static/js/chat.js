// A live stream of the service, shown at the pace that the reader asks for.

import { PROFILES, paced } from "../pacer/index.js";
import { Meter } from "./meter.js";
import { API, ask, findModel, headers, setKey } from "./service.js";

const $ = (id) => document.getElementById(id);
const MAX_TOKENS = 600;
const AS_IT_COMES = "as it comes";

let model = null;
let stream = null;

export function startChat() {
  const meter = new Meter($("buffer"), $("buffer-says"));
  $("chat").addEventListener("submit", (event) => {
    event.preventDefault();
    if (stream) stop();
    else send(meter);
  });
  $("pace").addEventListener("input", sayPace);
  for (const id of ["pace", "unpaced"]) $(id).addEventListener("change", changePace);
  for (const button of document.querySelectorAll("[data-profile]")) {
    button.addEventListener("click", () => choose(button.dataset.profile));
  }
  $("hold").addEventListener("click", hold);
  $("skip").addEventListener("click", skip);
  $("key").addEventListener("change", () => {
    setKey($("key").value);
    greet();
  });
  // The stream hears of it too, and pauses or goes on.
  document.addEventListener("visibilitychange", () => setTimeout(sayPaused));
  changePace();
  greet();
}

async function greet() {
  try {
    const found = await findModel();
    model = found.id;
    $("key-row").hidden = !found.wantsKey;
    $("model").textContent = model ?? "";
    $("tiny").hidden = !found.isTiny;
    $("send").disabled = model === null;
    say(found.wantsKey ? "The service asks for an API key." : "");
  } catch (error) {
    say(`The service cannot be reached: ${error.message}.`);
  }
}

async function send(meter) {
  const sentAtMs = performance.now();
  const tds = pace();
  const { ttftS } = PROFILES.reading;
  $("answer").textContent = "";
  $("answer").setAttribute("aria-busy", "true");
  stream = paced(ask(model, $("prompt").value, { ttftS, tds, maxTokens: MAX_TOKENS }), {
    tds,
    ttftS,
    sentAtMs,
    feedback: { url: new URL("qoe", API).href, headers: headers() },
  });
  const mine = stream;
  buttons(true);
  say("Waiting for the first word.");
  meter.follow(mine);
  try {
    let isFirst = true;
    for await (const text of mine) {
      if (isFirst) say("Streaming.");
      isFirst = false;
      append(text);
    }
    say(mine.wasStopped ? "Stopped; the engine is free again." : ended(mine));
  } catch (error) {
    const message = error.message.replace(/\.?$/, ".");
    say(`${error.status ? "The service says" : "The stream broke off"}: ${message}`);
  } finally {
    meter.stop();
    stream = null;
    buttons(false);
    $("answer").setAttribute("aria-busy", "false");
  }
}

function ended({ log, qoe }) {
  const first = log.delivered.length ? `, the first after ${log.delivered[0].toFixed(2)} s` : "";
  return `Done: ${log.delivered.length} tokens${first}. QoE ${qoe.shown.toFixed(2)}.`;
}

function append(text) {
  const answer = $("answer");
  const isAtEnd = answer.scrollHeight - answer.scrollTop - answer.clientHeight < 40;
  answer.append(text);
  if (isAtEnd) answer.scrollTop = answer.scrollHeight;
}

function stop() {
  stream.wasStopped = true;
  stream.cancel();
}

function hold() {
  if (!stream) return;
  if (stream.isPaused) stream.resume();
  else stream.pause();
  sayPaused();
}

function skip() {
  stream?.skipToEnd();
  sayPaused();
}

function sayPaused() {
  if (!stream) return;
  $("hold").textContent = stream.isPaused ? "Go on" : "Pause";
  const isHidden = document.visibilityState === "hidden";
  if (stream.isPaused) say(isHidden ? "Paused while this tab is hidden." : "Paused.");
  else say("Streaming.");
}

function choose(profile) {
  const { tds } = PROFILES[profile];
  $("unpaced").checked = false;
  $("pace").value = tds;
  changePace();
}

/** The pace that the controls say, tokens/s; null for as it comes. */
function pace() {
  return $("unpaced").checked ? null : Number($("pace").value);
}

/** At the end of a drag: the service is told of every pace. */
function changePace() {
  sayPace();
  stream?.speed(pace());
}

function sayPace() {
  const tds = pace();
  const says = tds === null ? AS_IT_COMES : `${tds.toFixed(1)} tokens/s`;
  $("pace").disabled = tds === null;
  $("pace").setAttribute("aria-valuetext", says);
  $("pace-says").textContent = says;
}

function buttons(isStreaming) {
  $("send").textContent = isStreaming ? "Stop" : "Send";
  $("hold").disabled = $("skip").disabled = !isStreaming;
  $("hold").textContent = "Pause";
}

function say(text) {
  $("chat-status").textContent = text;
}
