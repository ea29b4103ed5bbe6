"""``spendgate top``: who is spending now, by team, model or anything else."""

from __future__ import annotations

import argparse
import shutil
import time
import urllib.parse
from typing import Any

from gateway.cli.common import UserError, command, count, dollars, seconds, takes_by, takes_token

HOUR, DAY = 3600, 86_400


def add_parser(commands: Any) -> None:
    made = command(commands, "top", "who is spending now, live", "spendgate top --by model")
    takes_by(made, "team, workflow, model… (default: team)", "team")
    made.add_argument("--window", type=count, default=60, metavar="SECONDS", help="how far back (default: 60)")
    made.add_argument("--interval", type=seconds, default=2.0, metavar="SECONDS", help="default: 2")
    made.add_argument("--count", type=count, default=0, metavar="N", help="end after so many times (default: Ctrl-C)")
    takes_token(made)
    made.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from gateway.cli.asking import Gateway
    from gateway.cli.screen import Screen

    if not 1 <= options.window <= DAY:
        raise UserError("--window is between 1 and 86400 seconds")
    by = [name.strip() for name in options.by.split(",") if name.strip()]
    gateway = Gateway(options)
    text = _drawn(gateway, by, options.window)
    drawn = 0
    with Screen() as screen:
        while True:
            screen.show(text, shutil.get_terminal_size().lines)
            drawn += 1
            if drawn == options.count:
                return 0
            time.sleep(max(0.1, options.interval))
            text = _drawn(gateway, by, options.window)


def _drawn(gateway: Any, by: list[str], window: int) -> str:
    """The table now. Raises ``UserError`` where no gateway answers."""
    from gateway.cli.tables import terminal_width, text_table

    now = time.time()
    recent = _spend(gateway, by, now - window)
    today = {_key(row, by): row for row in _spend(gateway, by, now - now % DAY)["rows"]}
    open_now = int(gateway.gauge("spendgate_ledger_open_requests"))
    # what spends now comes first, then what did today
    rows = [_line(_key(row, by), row, today.pop(_key(row, by), None), window) for row in recent["rows"]]
    rows += [_line(_key(row, by), None, row, window) for row in today.values()]
    whole = _line((), recent["total"], _total(gateway, now), window)
    headers = [*by, "calls/min", "tokens/s", "USD", "USD/hour", "ttft s", "errors", "refused", "USD today"]
    right = set(range(len(by), len(headers)))
    lines = [*rows, [*(["total", *[""] * (len(by) - 1)] if by else []), *whole]]
    head = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(now))} UTC  last {window} s  {open_now:,} calls in flight"
    spare = [len(by) + place for place in (4, 1, 5, 6)]
    return f"{head}\n\n{text_table(headers, lines, right, limit=terminal_width(), spare=spare)}"


def _spend(gateway: Any, by: list[str], since: float) -> Any:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since)) + f".{int(since % 1 * 1e6):06d}Z"
    query = {"by": ",".join(by), "since": moment, "limit": 1000}
    return gateway.needed("/api/spend?" + urllib.parse.urlencode(query))


def _total(gateway: Any, now: float) -> Any:
    return _spend(gateway, [], now - now % DAY)["total"]


def _key(row: dict[str, Any], by: list[str]) -> tuple[str, ...]:
    return tuple(row["group"][name] for name in by)


def _line(names: tuple[str, ...], row: dict[str, Any] | None, today: dict[str, Any] | None, window: int) -> list[str]:
    """What a group did in the window and today; None: nothing, as after midnight."""
    spent = dollars(today["cost_nanousd"] if today is not None else 0)
    if row is None:
        return [*names, "0.0", "0", dollars(0), dollars(0, 2), "", "0", "0", spent]
    tokens = row["input_tokens"] + row["output_tokens"]
    ttft = row["ttft_ms"]
    return [
        *names,
        f"{row['requests'] * 60 / window:,.1f}",
        f"{tokens // window:,}",
        dollars(row["cost_nanousd"]),
        dollars(row["cost_nanousd"] * HOUR // window, 2),
        f"{ttft / 1000:.2f}" if ttft is not None else "",
        f"{row['errors']:,}",
        f"{row['rejected']:,}",
        spent,
    ]
