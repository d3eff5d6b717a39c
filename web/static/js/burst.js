// The recorded burst: the same arrivals under two schedulers.

import { crowdView } from "./crowd.js";
import { Player } from "./player.js";
import { readerView } from "./reader.js";
import { POLICIES, load } from "./recording.js";

const $ = (id) => document.getElementById(id);

/** Fill the section and make its controls work. */
export async function startBurst() {
  let recording;
  try {
    recording = await load("recorded.json");
  } catch (error) {
    $("burst-status").textContent = `Nothing to show: ${error.message}.`;
    return;
  }
  describe(recording);
  const show = makeViews(recording);
  control(recording, show);
}

function makeViews(recording) {
  const readers = recording.readers.map((reader) => readerView(reader, recording.endS));
  $("readers").append(...readers.map(({ element }) => element));
  const crowds = POLICIES.map((policy) => ({
    view: crowdView($(`crowd-${policy}`), recording.arrivalsS, recording.runs[policy]),
    says: $(`count-${policy}`),
  }));
  const show = (t) => {
    readers.forEach((reader) => reader.show(t));
    for (const { view, says } of crowds) says.textContent = counted(view.show(t));
  };
  const fit = () => {
    crowds.forEach(({ view }) => view.fit());
    show(Number($("time").value));
  };
  new ResizeObserver(fit).observe($("crowd-fcfs"));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", fit);
  fit();
  return show;
}

function counted({ waiting, served, well, badly }) {
  const ended = well + badly;
  const happy = ended ? ` · ${well} of ${ended} answers were on time` : "";
  return `${waiting} kept waiting · ${served} being answered${happy}`;
}

function control(recording, show) {
  const button = $("burst");
  const slider = $("time");
  slider.max = recording.endS.toFixed(1);
  const player = new Player(recording.endS, {
    onTime: (t) => {
      slider.value = t;
      slider.setAttribute("aria-valuetext", `${t.toFixed(0)} seconds`);
      $("clock").textContent = `${t.toFixed(1)} s`;
      show(t);
    },
    onState: () => {
      const isOver = player.t >= recording.endS;
      const begun = player.t > 0 && !isOver;
      button.dataset.playing = player.isPlaying;
      button.textContent = player.isPlaying ? "Pause" : begun ? "Go on" : isOver ? "Again" : "Burst";
      $("burst-status").textContent = told(player, isOver, recording);
    },
  });
  button.disabled = slider.disabled = false;
  button.addEventListener("click", () => (player.isPlaying ? player.pause() : player.play()));
  slider.addEventListener("input", () => player.seek(Number(slider.value)));
  for (const radio of document.querySelectorAll("input[name=speed]")) {
    if (radio.checked) player.speed = Number(radio.value);
    radio.addEventListener("change", () => (player.speed = Number(radio.value)));
  }
}

/** For whoever cannot see it: the beginning and the end, and not every word. */
function told(player, isOver, { load: { requests }, runs }) {
  if (player.isPlaying) return `${requests} readers are asking.`;
  if (!isOver) return player.t > 0 ? "Paused." : "";
  const share = (policy) =>
    `${Math.round(runs[policy].summary.share_qoe_area_ge_0_95 * 100)} %`;
  return (
    `It is over. First come, first served kept up with ${share("fcfs")} of the readers, ` +
    `Andes with ${share("andes")}.`
  );
}

const ROWS = [
  ["Mean QoE", (s) => s.mean_qoe_area.toFixed(2)],
  ["Readers kept up with (QoE ≥ 0.95)", (s) => `${(s.share_qoe_area_ge_0_95 * 100).toFixed(0)} %`],
  ["First word, mean", (s) => `${s.ttft_s.mean.toFixed(1)} s`],
  ["First word, median", (s) => `${s.ttft_s.p50.toFixed(1)} s`],
  ["First word, slowest 1 %", (s) => `${s.ttft_s.p99.toFixed(1)} s`],
  ["Longest stall", (s) => `${s.stall_s.max.toFixed(1)} s`],
  ["Tokens a second, all together", (s) => s.tokens_per_s.toFixed(0)],
];

function describe({ load: about, runs, command, made_by, readers }) {
  const commit = made_by.commit ? made_by.commit.slice(0, 12) : "unknown";
  const [model, gpu] = about.profile.split("/");
  const facts = {
    requests: about.requests,
    seconds: Math.round(about.burst_s),
    shown: readers.length,
    model,
    gpu,
    kv: about.kv_tokens.toLocaleString("en"),
    command,
    commit: made_by.dirty ? `${commit} with local changes` : commit,
  };
  for (const place of document.querySelectorAll("[data-fact]")) {
    place.textContent = facts[place.dataset.fact];
  }
  $("numbers").append(...ROWS.map(([name, of]) => row(name, POLICIES.map((p) => of(runs[p].summary)))));
}

function row(name, values) {
  const tr = document.createElement("tr");
  const th = document.createElement("th");
  th.scope = "row";
  th.textContent = name;
  tr.append(th, ...values.map((value) => {
    const td = document.createElement("td");
    td.textContent = value;
    return td;
  }));
  return tr;
}
