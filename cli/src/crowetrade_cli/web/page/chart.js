// Profit and loss over time, a line per series, as SVG. A legend shows the newest amounts, or those under the pointer, and
// hides a line when it is pressed. Lines differ by their dashes as well as by colour, so that equal ones can be told apart.

const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "7 4", "2 3", "10 3 2 3"];
const COLOURS = 8;
const MARGIN = { top: 10, right: 70, bottom: 22, left: 4 };

function svg(name, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

// An amount to draw; NaN where it is not known.
const amount = (text) => (text ? Number(text) : NaN);

// About `count` round numbers from low to high.
function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const first = Math.ceil(low / step) * step;
  const found = Array.from({ length: Math.floor((high - first) / step + 1e-9) + 1 }, (_, index) => first + index * step);
  return { found, places: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

const clockOf = (millis) => new Date(millis).toISOString().slice(11, 19);

export class Chart {
  constructor(parent, currency, format) {
    this.currency = currency;
    this.format = format;
    this.hidden = new Set();
    this.pointer = null;
    this.legend = document.createElement("ul");
    this.legend.className = "legend";
    this.figure = document.createElement("div");
    this.figure.className = "chart";
    this.image = svg("svg", { role: "img" });
    this.figure.append(this.image);
    parent.append(this.legend, this.figure);
    this.image.addEventListener("pointermove", (event) => this.point(event.offsetX));
    this.image.addEventListener("pointerdown", (event) => this.point(event.offsetX));
    this.image.addEventListener("pointerleave", () => this.point(null));
    this.resized = new ResizeObserver(() => this.redraw());
    this.resized.observe(this.figure);
  }

  remove() {
    this.resized.disconnect();
    this.legend.remove();
    this.figure.remove();
  }

  point(x) {
    this.pointer = x;
    this.redraw();
  }

  draw(times, amounts, series) {
    let number = 0;
    this.series = series.map((one) => {
      const place = one.total ? null : number++;
      return {
        ...one,
        className: one.total ? "series-total" : `series-${place % COLOURS}`,
        dash: one.total ? "" : DASHES[place % DASHES.length],
        values: amounts.map((values) => amount(values[one.key])),
        texts: amounts.map((values) => values[one.key] ?? ""),
      };
    });
    this.times = times;
    this.redraw();
  }

  redraw() {
    const width = this.figure.clientWidth;
    const height = this.image.clientHeight;
    if (!this.series || !width || !height) return;
    const right = width - MARGIN.right;
    const bottom = height - MARGIN.bottom;
    const from = this.times[0];
    const to = Math.max(this.times.at(-1), from + 10_000);
    const x = (time) => MARGIN.left + ((time - from) / (to - from)) * (right - MARGIN.left);
    const drawn = this.series.filter(({ key }) => !this.hidden.has(key));
    const values = drawn.flatMap((one) => one.values).filter(Number.isFinite);
    const at = this.nearest(x);
    this.showLegend(at);
    this.image.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.image.setAttribute(
      "aria-label",
      `Profit and loss in ${this.currency} from ${clockOf(from)} to ${clockOf(this.times.at(-1))} UTC; the newest amounts are in the table of strategies`,
    );
    if (!values.length) {
      this.image.replaceChildren(
        svg("text", { x: width / 2, y: height / 2, class: "waiting" }, "Nothing to draw: no amount is known yet"),
      );
      return;
    }
    const lowest = values.reduce((a, b) => Math.min(a, b));
    const highest = values.reduce((a, b) => Math.max(a, b));
    const room = (highest - lowest) * 0.06 || 1;
    const low = lowest - room;
    const high = highest + room;
    const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - MARGIN.top);

    const parts = [];
    const { found, places } = ticks(low, high, Math.max(2, Math.floor(height / 60)));
    for (const value of found) {
      parts.push(svg("line", { x1: MARGIN.left, x2: right, y1: y(value), y2: y(value), class: value === 0 ? "zero" : "grid" }));
      const text = value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
      parts.push(svg("text", { x: right + 8, y: y(value) + 4 }, text === "-0" ? "0" : text));
    }
    const labels = Math.max(2, Math.floor(right / 130));
    for (let index = 0; index < labels; index++) {
      const share = index / (labels - 1);
      const anchor = index === 0 ? "start" : index === labels - 1 ? "end" : "middle";
      const time = from + share * (to - from);
      parts.push(svg("text", { x: x(time), y: height - 5, "text-anchor": anchor }, clockOf(time)));
    }
    // The total last, on top; of equal lines the dashed one is over the solid one.
    for (const one of drawn.toSorted((a, b) => Number(a.total ?? false) - Number(b.total ?? false))) {
      let path = "";
      let pen = "M";
      one.values.forEach((value, index) => {
        if (Number.isFinite(value)) {
          path += `${pen}${x(this.times[index]).toFixed(1)} ${y(value).toFixed(1)}`;
          pen = "L";
        } else {
          pen = "M";
        }
      });
      const line = svg("path", { d: path, class: `line ${one.className}${one.total ? " total" : ""}`, "data-series": one.key });
      if (one.dash) line.setAttribute("stroke-dasharray", one.dash);
      parts.push(line);
    }
    if (this.pointer !== null) {
      const cursor = x(this.times[at]);
      parts.push(svg("line", { x1: cursor, x2: cursor, y1: MARGIN.top, y2: bottom, class: "cursor" }));
    }
    for (const one of drawn) {
      const value = one.values[at];
      if (Number.isFinite(value)) {
        parts.push(svg("circle", { cx: x(this.times[at]), cy: y(value), r: 3.5, class: `dot ${one.className}` }));
      }
    }
    this.image.replaceChildren(...parts);
  }

  // Index of the time under the pointer, or of the newest.
  nearest(x) {
    if (this.pointer === null) return this.times.length - 1;
    let best = 0;
    this.times.forEach((time, index) => {
      if (Math.abs(x(time) - this.pointer) < Math.abs(x(this.times[best]) - this.pointer)) best = index;
    });
    return best;
  }

  showLegend(at) {
    const known = new Map([...this.legend.children].map((item) => [item.dataset.key, item]));
    const items = this.series.map((one) => {
      const item = known.get(one.key) ?? this.newItem(one);
      const button = item.firstChild;
      button.setAttribute("aria-pressed", String(!this.hidden.has(one.key)));
      button.querySelector("span").textContent = one.label;
      button.querySelector("b").textContent = this.format(one.texts[at]);
      const line = button.querySelector("line");
      line.setAttribute("class", `line ${one.className}${one.total ? " total" : ""}`);
      line.setAttribute("stroke-dasharray", one.dash);
      return item;
    });
    const time = known.get("") ?? this.newTime();
    time.textContent = `${this.currency} at ${clockOf(this.times[at])}`;
    items.unshift(time);
    if (items.length !== this.legend.children.length || items.some((item, index) => item !== this.legend.children[index])) {
      this.legend.replaceChildren(...items);
    }
  }

  newItem({ key }) {
    const item = document.createElement("li");
    item.dataset.key = key;
    const button = document.createElement("button");
    button.type = "button";
    const sample = svg("svg", { "aria-hidden": "true", viewBox: "0 0 22 8" });
    sample.append(svg("line", { x1: 0, x2: 22, y1: 4, y2: 4 }));
    button.append(sample, document.createElement("span"), document.createElement("b"));
    button.addEventListener("click", () => {
      if (!this.hidden.delete(key)) this.hidden.add(key);
      this.redraw();
    });
    item.append(button);
    return item;
  }

  newTime() {
    const item = document.createElement("li");
    item.dataset.key = "";
    item.className = "note";
    return item;
  }
}
