// One reader's delivery curve, with the ideal line beside it.

const SVG = "http://www.w3.org/2000/svg";
export const WIDTH = 160;
export const HEIGHT = 44;

/**
 * @param {object} reader Whose tokens.
 * @param {string} policy Under which scheduler.
 * @param {number} spanS Seconds that the width stands for; the same for both schedulers.
 * @returns {{element: SVGElement, reveal: (t: number) => void}}
 */
export function curve(reader, policy, spanS) {
  const { deliveredS, readS } = reader.seen[policy];
  const x = (t) => ((t / spanS) * WIDTH).toFixed(1);
  const y = (n) => (HEIGHT - 2 - (n / reader.tokens) * (HEIGHT - 4)).toFixed(1);
  const idealEndS = reader.ttftS + reader.tokens / reader.tds;
  const ideal = `M${x(reader.ttftS)},${y(0)}L${x(idealEndS)},${y(reader.tokens)}`;
  const element = make("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: "none",
    class: "curve",
    "aria-hidden": "true",
  });
  const id = `clip-${policy}-${reader.number}`;
  const shade = make("rect", { x: 0, y: 0, width: 0, height: HEIGHT });
  const clip = make("clipPath", { id });
  clip.append(shade);
  const drawn = make("g", { "clip-path": `url(#${id})` });
  drawn.append(
    make("path", { class: "area", d: `${steps(readS, x, y)}V${y(0)}Z` }),
    make("path", { class: "delivered", d: steps(deliveredS, x, y) }),
  );
  element.append(clip, drawn, make("path", { class: "ideal", d: ideal }));
  return {
    element,
    reveal: (t) => shade.setAttribute("width", Math.max(0, Number(x(t))).toFixed(1)),
  };
}

function steps(times, x, y) {
  const path = [`M${x(times[0])},${y(0)}`];
  times.forEach((t, i) => path.push(`H${x(t)}V${y(i + 1)}`));
  return path.join("");
}

function make(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
