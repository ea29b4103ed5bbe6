// Periods that people ask for, as whole UTC hours and days, so that they are answered from sums.

const DAY = 86400e3;

export const PRESETS = [
  ["24h", "Last 24 hours"], ["7d", "Last 7 days"], ["30d", "Last 30 days"], ["90d", "Last 90 days"],
  ["month", "This month"], ["last", "Last month"], ["custom", "From … to …"],
];

export const day = (at) => new Date(at).toISOString().slice(0, 10);
const hour = (at) => new Date(at).toISOString().slice(0, 13) + ":00Z";

export function period(query, now = Date.now()) {
  const date = new Date(now);
  const month = (offset) => Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + offset, 1);
  const next = Math.floor(now / 3600e3) * 3600e3 + 3600e3;
  switch (query.period || "30d") {
    case "24h": return { since: hour(next - DAY), until: hour(next), bucket: "hour" };
    case "7d": return { since: day(now - 6 * DAY), until: hour(next), bucket: "day" };
    case "90d": return { since: day(now - 89 * DAY), until: hour(next), bucket: "day" };
    case "month": return { since: day(month(0)), until: hour(next), bucket: "day" };
    case "last": return { since: day(month(-1)), until: day(month(0)), bucket: "day" };
    case "custom": {
      const until = query.until ? day(Date.parse(query.until) + DAY) : hour(next);
      return { since: query.since || day(now - 29 * DAY), until, bucket: "day" };
    }
    default: return { since: day(now - 29 * DAY), until: hour(next), bucket: "day" };
  }
}

export function buckets(since, until, bucket) {
  const out = [];
  const end = Date.parse(until);
  let at = new Date(Date.parse(since));
  if (bucket === "week") at = new Date(+at - ((at.getUTCDay() + 6) % 7) * DAY);
  if (bucket === "month") at = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth(), 1));
  while (+at < end && out.length < 5000) {
    out.push(bucket === "hour" ? hour(+at) : bucket === "month" ? day(+at).slice(0, 7) : day(+at));
    if (bucket === "month") at = new Date(Date.UTC(at.getUTCFullYear(), at.getUTCMonth() + 1, 1));
    else at = new Date(+at + { hour: 3600e3, day: DAY, week: 7 * DAY }[bucket]);
  }
  return out;
}
