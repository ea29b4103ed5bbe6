"""``spendgate quotas``: how quotas stand, raises, what a call would be told, and the proof that no counter drifted.

A running gateway is asked on its admin port. Without one, ``quotas`` and ``explain`` read the ledger; nothing is
reserved then.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import urllib.parse
from getpass import getuser
from typing import TYPE_CHECKING, Any

from gateway.cli.asking import ask
from gateway.cli.common import UserError, command, configuration, count, ledger_file, moment, table, takes_token

if TYPE_CHECKING:
    from gateway.quota.engine import Quotas

DIMENSIONS = ("team", "workflow", "key", "provider", "model")
UNITS = ("usd", "tokens", "input_tokens", "output_tokens", "requests", "concurrent")


def add_parser(commands: Any) -> None:
    text = "how quotas stand; raise one, explain a decision, prove the counters"
    top = command(commands, "quotas", text, "spendgate quotas --near")
    top.add_argument("--near", action="store_true", help="only those past their first threshold, or full")
    top.add_argument("--format", choices=("table", "json"), default="table")
    takes_token(top)
    top.set_defaults(run=run_list)
    actions = top.add_subparsers(dest="action", metavar="ACTION")
    _add_grants(actions)
    asking = command(
        actions,
        "explain",
        "what each rule would say to a call",
        "spendgate quotas explain --team search --model gpt-4o --usd 0.50",
    )
    for name in DIMENSIONS:
        asking.add_argument(f"--{name}", default="", metavar=name[0].upper())
    asking.add_argument("--tag", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    asking.add_argument("--usd", default="0", metavar="DOLLARS", help="what the call may cost at most")
    asking.add_argument("--input-tokens", type=count, default=0, metavar="N")
    asking.add_argument("--output-tokens", type=count, default=0, metavar="N")
    asking.add_argument("--all", action="store_true", help="also the rules that don't match, and why")
    asking.add_argument("--format", choices=("text", "json"), default="text")
    takes_token(asking)
    asking.set_defaults(run=run_explain)
    proof = command(
        actions,
        "verify",
        "compare the running gateway's counters with the ledger; exit 1 on any difference",
        "spendgate quotas verify",
    )
    takes_token(proof)
    proof.set_defaults(run=run_verify)


def _add_grants(actions: Any) -> None:
    grant = command(
        actions,
        "grant",
        "raise a limit until a date; a running gateway knows it within a second",
        'spendgate quotas grant search-month --usd 50 --until 2027-01-01 --why "launch week"',
    )
    grant.add_argument("name", metavar="NAME")
    for unit in UNITS:
        grant.add_argument(f"--{unit.replace('_', '-')}", dest=unit, metavar="AMOUNT")
    grant.add_argument("--from", dest="begin", type=moment, metavar="WHEN", help="default: now")
    grant.add_argument("--until", type=moment, required=True, metavar="WHEN", help="first moment at which it is over")
    grant.add_argument("--why", default="", metavar="TEXT")
    grant.add_argument("--who", default="", metavar="NAME", help="default: who is logged in")
    grant.set_defaults(run=run_grant)
    listing = command(actions, "grants", "raises that hold, or will", "spendgate quotas grants")
    listing.add_argument("--format", choices=("table", "json"), default="table")
    listing.set_defaults(run=run_grants)
    end = command(actions, "end", "let a raise end now", "spendgate quotas end 3")
    end.add_argument("id", type=count, metavar="ID")
    end.set_defaults(run=run_end)


def run_list(options: argparse.Namespace) -> int:
    rows = ask(options, "/api/quotas")
    if rows is None:
        from gateway.quota.explain import standings

        rows = {"quotas": standings(_from_ledger(options), time.time_ns())}
    found = [row for row in rows["quotas"] if not options.near or row["near"] or row["left"] <= 0]
    if options.format == "json":
        print(json.dumps(found, indent=2))
        return 0
    if not found:
        print("No quota is near its limit." if rows["quotas"] else "There are no quotas. Add one: [[quotas]]")
        return 0
    headers = ["quota", "bucket", "unit", "window", "limit", "used", "reserved", "left", "%", "resets"]
    lines = [
        [
            row["quota"],
            row["bucket"],
            row["unit"],
            row["window"],
            *(_amount(row["unit"], row[name]) for name in ("limit", "used", "reserved", "left")),
            f"{100 * row['share']:.1f}",
            (row["resets_at"] or "never")[:19].replace("T", " "),
        ]
        for row in found
    ]
    print(table(headers, lines, {4, 5, 6, 7, 8}))
    return 0


def run_grant(options: argparse.Namespace) -> int:
    from gateway.ledger.connections import connect
    from gateway.ledger.rows import rfc3339
    from gateway.quota.asking import grant_of, granted
    from gateway.quota.grants import insert_grant

    config = configuration(options.config)
    rules = {quota.name: quota for quota in config.quotas}
    if options.name not in rules:
        from gateway.config.problems import near

        raise UserError(f'there is no quota "{options.name}". {near(options.name, rules)}'.strip())
    given = [unit for unit in UNITS if getattr(options, unit) is not None]
    if len(given) != 1:
        raise UserError(f"say how much more by one of {', '.join('--' + unit.replace('_', '-') for unit in UNITS)}")
    said: dict[str, Any] = {unit: getattr(options, unit) for unit in given}
    said |= {"until": rfc3339(options.until), "who": options.who or _user(), "why": options.why}
    if options.begin is not None:
        said["from"] = rfc3339(options.begin)
    try:
        grant = grant_of(options.name, said, time.time_ns())
    except ValueError as error:
        raise UserError(str(error)) from error
    if getattr(rules[options.name], grant.unit) is None:
        raise UserError(f'quota "{options.name}" has no limit on {grant.unit}')
    connection = connect(ledger_file(options))
    try:
        number = insert_grant(connection, grant)
    finally:
        connection.close()
    shown = granted(grant)
    print(f"grant {number}: {options.name} +{_amount(grant.unit, shown[grant.unit])} until {shown['until']}")
    return 0


def run_grants(options: argparse.Namespace) -> int:
    from gateway.ledger.connections import connect_reader
    from gateway.quota.asking import granted
    from gateway.quota.grants import holding

    connection = connect_reader(ledger_file(options))
    try:
        grants = holding(connection, time.time_ns())
    finally:
        connection.close()
    if options.format == "json":
        print(json.dumps([granted(grant) for grant in grants], indent=2))
        return 0
    headers = ["id", "quota", "unit", "amount", "from", "until", "who", "why"]
    rows = []
    for grant in grants:
        shown = granted(grant)
        amount = _amount(grant.unit, shown[grant.unit])
        rows.append(
            [str(grant.id), grant.quota, grant.unit, amount, shown["from"], shown["until"], grant.who, grant.why]
        )
    print(table(headers, rows, {3}) if rows else "No raise holds.")
    return 0


def run_end(options: argparse.Namespace) -> int:
    from gateway.ledger.connections import connect
    from gateway.quota.grants import end_grant

    connection = connect(ledger_file(options))
    try:
        if not end_grant(connection, options.id, time.time_ns()):
            raise UserError(f"no grant {options.id} holds now (see spendgate quotas grants)")
    finally:
        connection.close()
    print(f"grant {options.id} has ended")
    return 0


def run_explain(options: argparse.Namespace) -> int:
    tags = dict(tag.partition("=")[::2] for tag in options.tag)
    query = {name: getattr(options, name) for name in DIMENSIONS} | {f"tag.{name}": tags[name] for name in tags}
    query |= {"usd": options.usd, "input_tokens": options.input_tokens, "output_tokens": options.output_tokens}
    said = ask(options, "/api/quotas/explain?" + urllib.parse.urlencode(query))
    if said is None:
        from gateway.quota.asking import asked
        from gateway.quota.explain import explain
        from gateway.quota.rule import Subject

        try:
            amounts = asked({name: str(value) for name, value in query.items()})
        except ValueError as error:
            raise UserError(str(error)) from error
        team, workflow, key, provider, model = (getattr(options, name) for name in DIMENSIONS)
        subject = Subject(team, workflow, key, provider, model, tuple(sorted(tags.items())))
        said = explain(_from_ledger(options), subject, amounts, time.time_ns())
    if options.format == "json":
        print(json.dumps(said, indent=2))
        return 0
    for rule in said["rules"]:
        if rule["matches"]:
            print(f"{rule['quota']}: {rule['says']}")
            for row in rule["limits"]:
                taken = f"used {_amount(row['unit'], row['used'])}, reserved {_amount(row['unit'], row['reserved'])}"
                room = (
                    f"{taken}, wanted {_amount(row['unit'], row['wanted'])}, limit {_amount(row['unit'], row['limit'])}"
                )
                print(f"  {'fits' if row['fits'] else 'no room'}: {row['unit']} {room}")
        elif options.all:
            print(f"{rule['quota']}: does not match: {rule['because']}")
    verdict = "would be allowed" if said["allowed"] else f'would be refused by "{said["refused_by"]}"'
    print(f"The call {verdict}.")
    return 0


def run_verify(options: argparse.Namespace) -> int:
    said = ask(options, "/api/quotas/verify", post=True)
    if said is None:
        print("No gateway is running: its counters are rebuilt from the ledger when it starts.")
        return 0
    for row in said["differences"]:
        counted, ledger = _amount(row["unit"], row["counted"]), _amount(row["unit"], row["ledger"])
        print(f"{row['quota']} {row['bucket']} {row['unit']}: counted {counted}, ledger {ledger}".replace("  ", " "))
    wrong = len(said["differences"])
    print(f"{said['counters']} counters, {wrong} difference{'s' if wrong != 1 else ''}")
    return 1 if wrong else 0


def _from_ledger(options: argparse.Namespace) -> Quotas:
    """The rules' counters as the ledger has them."""
    from gateway.assembly import rules_of
    from gateway.ledger.connections import connect_reader
    from gateway.ledger.view import SqliteView
    from gateway.quota.engine import Quotas
    from gateway.quota.grants import holding, raises_of
    from gateway.quota.replay import load

    config, path, now_ns = configuration(options.config), ledger_file(options), time.time_ns()
    quotas = Quotas(rules_of(config), max_counters=config.max_quota_counters)
    load(quotas, SqliteView(path), now_ns)
    connection = connect_reader(path)
    try:
        quotas.grant(raises_of(holding(connection, now_ns)))
    finally:
        connection.close()
    return quotas


def _amount(unit: str, value: float) -> str:
    return f"${value:,.6f}" if unit == "usd" else f"{value:,}"


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
