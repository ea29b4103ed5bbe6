"""docs/metrics.md, written from the code: ``python -m gateway.metrics.describe > docs/metrics.md``."""

from __future__ import annotations

import sys

from gateway.metrics.collector import CUT, OTHER, TOKEN_TYPES
from gateway.metrics.families import FAMILIES

_HEAD = f"""# Metrics

`GET /metrics` on the admin port. Prometheus text by default; OpenMetrics where the scraper asks for it, then with
exemplars: a histogram's bucket names the trace of the newest traced call in it (`trace_id`, also in the ledger). This
page is made from the code by `python -m gateway.metrics.describe`.

Counters take settled records: the sum of `spendgate_cost_usd_total` since the start is what the ledger has booked since
the start, calls recovered from a crash included. Money is added up in integer nanodollars and divided at the scrape.

**Bounded.** Team and provider come from the configuration; workflow and model from callers. At most
`metrics.max_series` combinations of team, workflow, provider and model have series of their own; past it new
combinations count under workflow and model `{OTHER}`, and `spendgate_metrics_series_folded_total` grows. Quota counters
past the same bound are added up in the bucket `{OTHER}`.

**A scrape delays calls little.** Lines are written on the event loop, two hundred at a time; after each half
millisecond of it the scrape rests three times as long. Scrapes that come at once take turns, and compression is a
thread's. With 50,000 series, scraped again a second after each scrape, 200 calls a second took 1.07 times as long in
the median and 1.10 times at the 99th percentile as without, and 2 of 413 ticks of the loop were more than 5 ms late
(without: 1 of 389). One scrape takes about 0.12 s of CPU: where all CPUs are taken by others, that shows more.
`bench/scrape.py` measures it, in turns with and without.

| metric | type | labels | unit | meaning |
| --- | --- | --- | --- | --- |
"""

_TAIL = """
Token types: {types}. `input` and `output` are totals, the others are parts of them; do not add them up.

`spendgate_quota_refusals_total` has the refusal's code as its reason, or `{cut}` for an answer that was ended because a
budget was used up on the way. The unit of a quota's gauges is `usd`, `tokens`, `input_tokens`, `output_tokens`,
`requests` or `concurrent`.

## Buckets

| histogram | upper bounds in seconds |
| --- | --- |
"""

_PROCESS = """
## The process

`process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_virtual_memory_bytes`, `process_open_fds`,
`process_max_fds`, `process_start_time_seconds`, `python_gc_*` and `python_info`, as prometheus-client has them.
"""


def document() -> str:
    """The page."""
    rows = "".join(
        f"| `{family.shown}` | {family.kind} | {', '.join(family.labels) or '–'} | {family.unit or '–'} | "
        f"{family.text} |\n"
        for family in FAMILIES
    )
    buckets = "".join(
        f"| `{family.name}` | {', '.join(f'{bound:g}' for bound in family.buckets)} |\n"
        for family in FAMILIES
        if family.buckets
    )
    types = ", ".join(f"`{name}`" for name, _ in TOKEN_TYPES)
    return _HEAD + rows + _TAIL.format(types=types, cut=CUT) + buckets + _PROCESS


if __name__ == "__main__":
    sys.stdout.write(document())
