// Numbers and times for people. Times are UTC, as everywhere in Spendgate.

const NANO = 1e9;

export function usd(nanousd) {
  if (nanousd === null || nanousd === undefined) return "–";
  const value = nanousd / NANO;
  const size = Math.abs(value);
  const digits = size >= 1 || size === 0 ? 2 : size >= 0.01 ? 4 : 6;
  const text = size.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return (value < 0 ? "−$" : "$") + text;
}

export function count(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString("en-US");
}

export function short(value) {
  if (value === null || value === undefined) return "–";
  return value.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: value < 1000 ? 0 : 1 });
}

export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 10000) return (value / 1000).toFixed(1) + " s";
  return (value < 10 ? value.toFixed(2) : Math.round(value).toLocaleString("en-US")) + " ms";
}

export function percent(share) {
  if (share === null || share === undefined || !isFinite(share)) return "–";
  return (share < 0 ? "−" : "") + (Math.abs(share) * 100).toFixed(Math.abs(share) < 0.1 ? 1 : 0) + " %";
}

export function signed(nanousd) {
  return (nanousd > 0 ? "+" : "") + usd(nanousd);
}

export function time(text) {
  return text ? text.slice(0, 10) + " " + text.slice(11, 19) : "–";
}

export function span(seconds) {
  if (seconds < 90) return Math.max(0, Math.round(seconds)) + " s";
  if (seconds < 5400) return Math.round(seconds / 60) + " min";
  if (seconds < 172800) return Math.round(seconds / 3600) + " h";
  return Math.round(seconds / 86400) + " days";
}

export const named = (text) => (text === "" ? "(none)" : text);
