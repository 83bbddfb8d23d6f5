// Writes what a chart shows under the pointer, in a line that is always there, so that nothing moves.
"use strict";
for (const figure of document.querySelectorAll("figure[data-chart]")) {
  const chart = JSON.parse(figure.querySelector("script").textContent);
  const plot = figure.querySelector(".plot");
  const cursor = figure.querySelector(".cursor");
  const reading = figure.querySelector(".reading");
  const percent = chart.form === "percent";
  const written = (value) => {
    if (value === null) return "–";
    const scaled = percent ? value * 100 : value;
    const digits = percent || Math.abs(scaled) >= 1000 ? 2 : 5;
    return scaled.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: digits }) + (percent ? "%" : "");
  };
  const nearest = (at) => {
    let low = 0;
    let high = chart.times.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (chart.times[middle] < at) low = middle; else high = middle;
    }
    return at - chart.times[low] <= chart.times[high] - at ? low : high;
  };
  const read = (event) => {
    const box = plot.getBoundingClientRect();
    const span = Math.max(chart.last - chart.first, 1);
    const at = chart.first + (span * (event.clientX - box.left)) / box.width;
    const index = nearest(at);
    cursor.style.left = `${(100 * (chart.times[index] - chart.first)) / span}%`;
    cursor.style.visibility = "visible";
    const time = new Date(chart.times[index]).toISOString().slice(0, 16).replace("T", " ");
    const parts = chart.names.map((name, line) => `${name} ${written(chart.values[line][index])}`);
    reading.textContent = `${time} UTC · ${parts.join(" · ")}`;
  };
  plot.addEventListener("pointermove", read);
  plot.addEventListener("pointerdown", read);
  plot.addEventListener("pointerleave", () => {
    cursor.style.visibility = "hidden";
    reading.textContent = "";
  });
}
