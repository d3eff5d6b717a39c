// What the replicas report now.

const PERIOD_MS = 1000;
const $ = (id) => document.getElementById(id);

/** Ask while somebody looks, and not otherwise. */
export function startFleet() {
  let isInSight = false;
  let timer = null;
  const turn = () => {
    const isWanted = isInSight && document.visibilityState === "visible";
    if (isWanted && timer === null) {
      look();
      timer = setInterval(look, PERIOD_MS);
    } else if (!isWanted) {
      clearInterval(timer);
      timer = null;
    }
  };
  new IntersectionObserver((entries) => {
    isInSight = entries.at(-1).isIntersecting;
    turn();
  }).observe($("fleet"));
  document.addEventListener("visibilitychange", turn);
}

async function look() {
  try {
    const answer = await fetch("fleet", { cache: "no-store" });
    if (!answer.ok) throw new Error(`the service answers ${answer.status}`);
    const { replicas, silent } = await answer.json();
    draw(replicas);
    const missing = silent ? ` ${silent} did not answer.` : "";
    say(`${replicas.length} replicas, ${new Date().toLocaleTimeString()}.${missing}`);
  } catch (error) {
    say(`No report: ${error.message}.`);
  }
}

function draw(replicas) {
  const list = $("replicas");
  while (list.children.length > replicas.length) list.lastElementChild.remove();
  while (list.children.length < replicas.length) {
    list.append($("replica").content.cloneNode(true));
  }
  replicas.forEach((replica, i) => fill(list.children[i], replica));
}

function fill(card, replica) {
  const part = (name) => card.querySelector(`[data-part="${name}"]`);
  const set = (name, text) => {
    part(name).textContent = text;
  };
  const live = replica.running + replica.waiting + replica.preempted;
  const used = replica.kv_total_tokens ? replica.kv_used_tokens / replica.kv_total_tokens : 0;
  set("name", replica.id);
  set("state", !replica.accepting ? "leaving" : live ? "serving" : "idle");
  set("kv", `${(used * 100).toFixed(0)} %`);
  part("kv-bar").style.width = `${used * 100}%`;
  part("kv-bar").parentElement.title =
    `${replica.kv_used_tokens.toLocaleString("en")} of ` +
    `${replica.kv_total_tokens.toLocaleString("en")} tokens`;
  set("running", replica.running);
  set("waiting", replica.waiting);
  set("preempted", replica.preempted);
  set("qoe", live ? replica.qoe_mean.toFixed(2) : "–");
  set("below", live ? `${replica.below_target} below 0.95` : "nobody reads");
}

function say(text) {
  $("fleet-status").textContent = text;
}
