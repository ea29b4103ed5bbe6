// Stacked bars over time, with the same numbers as a table for those who do not see the picture.

import uPlot from "./vendor/uPlot.esm.js";
import { fill, h, table } from "./dom.js";
import { named, short, usd } from "./format.js";

const TOP = 7;
const HEIGHT = 240;

// Rows of /api/spend by (bucket, dimension) → series, the largest first, the rest as "other".
export function stack(rows, keys, bucket, dimension, value) {
  const place = new Map(keys.map((key, index) => [key, index]));
  const series = new Map();
  for (const row of rows) {
    const name = dimension ? row.group[dimension] : "all";
    const index = place.get(row.group[bucket]);
    if (index === undefined) continue;
    if (!series.has(name)) series.set(name, { name, values: new Array(keys.length).fill(0), total: 0 });
    const one = series.get(name);
    one.values[index] += value(row);
    one.total += value(row);
  }
  const all = [...series.values()].sort((a, b) => b.total - a.total);
  if (all.length <= TOP + 1) return all;
  const other = { name: "other", values: new Array(keys.length).fill(0), total: 0 };
  for (const one of all.slice(TOP)) {
    one.values.forEach((v, index) => { other.values[index] += v; });
    other.total += one.total;
  }
  return [...all.slice(0, TOP), other];
}

function colours() {
  const style = getComputedStyle(document.documentElement);
  return Array.from({ length: TOP + 1 }, (_, index) => style.getPropertyValue("--c" + index).trim());
}

export function bars(place, { keys, series, label, money = true }) {
  const shown = money ? usd : short;
  const paint = colours();
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--muted").trim();
  const grid = style.getPropertyValue("--line").trim();
  const xs = keys.map((_, index) => index);
  const sums = [];
  const running = new Array(keys.length).fill(0);
  for (const one of series) {
    one.values.forEach((value, index) => { running[index] += money ? value / 1e9 : value; });
    sums.push([...running]);
  }
  const canvas = h("div", { class: "canvas", role: "img", "aria-label": label });
  const legend = h("ul", { class: "legend" });
  const tell = (index) => fill(legend, series.map((one, number) => h("li", {},
    h("span", { class: "dot", style: { background: paint[number] } }),
    h("span", { class: "name" }, named(one.name)), " ",
    h("strong", {}, shown(index === null ? one.total : one.values[index])))),
    h("li", { class: "muted" }, index === null ? "whole period" : keys[index]));
  tell(null);
  const columns = [{ label: "Time", cell: (row) => row.key },
    ...series.map((one) => ({ label: named(one.name), number: true, cell: (row) => shown(one.values[row.index]) }))];
  const numbers = h("details", {}, h("summary", {}, "As a table"));
  numbers.addEventListener("toggle", () => {
    if (numbers.open && numbers.children.length === 1) {
      numbers.append(table({ caption: label, columns, rows: keys.map((key, index) => ({ key, index })) }));
    }
  });
  fill(place, canvas, legend, numbers);
  if (!series.length) return;
  const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const options = {
    width: Math.max(280, canvas.clientWidth || 600), height: HEIGHT, legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    scales: { x: { time: false, range: [-0.6, keys.length - 0.4] }, y: { range: (u, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [
      { ...axis, size: 30, grid: { show: false }, values: (u, at) => at.map((index) => Number.isInteger(index) && keys[index] ? tick(keys[index]) : ""), space: 70 },
      { ...axis, size: 64, values: (u, at) => at.map((value) => money ? "$" + step(value, at) : short(value)) },
    ],
    series: [{}, ...[...series.keys()].reverse().map((index) => ({
      label: named(series[index].name), fill: paint[index], stroke: paint[index], width: 0, points: { show: false },
      paths: uPlot.paths.bars({ size: [0.75, 60], align: 0 }),
    }))],
    hooks: { setCursor: [(u) => tell(u.cursor.idx === null || u.cursor.idx === undefined ? null : u.cursor.idx)] },
  };
  const plot = new uPlot(options, [xs, ...[...sums].reverse()], canvas);
  const watch = new ResizeObserver(() => {
    if (!canvas.isConnected) { watch.disconnect(); plot.destroy(); return; }
    plot.setSize({ width: Math.max(280, canvas.clientWidth), height: HEIGHT });
  });
  watch.observe(canvas);
}

// A number on the axis with as many digits as tell it from its neighbour.
function step(value, at) {
  const gap = at.length > 1 ? Math.abs(at[1] - at[0]) : 1;
  return gap >= 1 ? short(value) : value.toFixed(Math.min(6, Math.ceil(-Math.log10(gap))));
}

function tick(key) {
  return key.length > 10 ? key.slice(5, 10) + " " + key.slice(11, 16) : key.length === 10 ? key.slice(5) : key;
}
