// Everybody in the burst at once: a small square each, in order of arrival.

const GAP = 2;

/** Draws what has become of all readers at `t` on a canvas; `show` returns the counts. */
export function crowdView(canvas, arrivalsS, run) {
  const context = canvas.getContext("2d");
  let columns = 0;
  let size = 0;

  function fit() {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    size = width < 480 ? 7 : 9;
    columns = Math.max(1, Math.floor((width + GAP) / (size + GAP)));
    const rows = Math.ceil(arrivalsS.length / columns);
    canvas.style.height = `${rows * (size + GAP) - GAP}px`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round((rows * (size + GAP) - GAP) * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  function show(t) {
    const colours = palette(canvas);
    const counts = { away: 0, asked: 0, waiting: 0, served: 0, well: 0, badly: 0 };
    context.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    arrivalsS.forEach((arrivalS, i) => {
      const state = stateOf(run, i, t - arrivalS);
      counts[state] += 1;
      context.fillStyle = colours[state];
      const x = (i % columns) * (size + GAP);
      const y = Math.floor(i / columns) * (size + GAP);
      context.beginPath();
      context.roundRect(x, y, size, size, 2);
      context.fill();
    });
    return counts;
  }

  return { fit, show };
}

function stateOf(run, i, t) {
  if (t < 0) return "away";
  if (t < run.firstS[i]) return t <= 1 ? "asked" : "waiting";
  if (t < run.endS[i]) return "served";
  return run.qoe[i] >= 0.95 ? "well" : "badly";
}

function palette(element) {
  const style = getComputedStyle(element);
  const colour = (name) => style.getPropertyValue(name);
  return {
    away: colour("--empty"),
    asked: colour("--asked"),
    waiting: colour("--bad"),
    served: colour("--good-soft"),
    well: colour("--good"),
    badly: colour("--bad-soft"),
  };
}
