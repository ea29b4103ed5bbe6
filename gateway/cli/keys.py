"""``spendgate keys``: virtual keys made at run time. A running gateway knows them within a second."""

from __future__ import annotations

import argparse
import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gateway.cli.common import UserError, command, configuration, ledger_file, moment, table


def add_parser(commands: Any) -> None:
    top = commands.add_parser(
        "keys",
        help="create, list, rotate and revoke virtual keys",
        description="create, list, rotate and revoke virtual keys; a running gateway knows the change within a second",
        epilog="example: spendgate keys list",
    )
    actions = top.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = command(
        actions,
        "create",
        "make a key; its secret is shown once",
        "spendgate keys create --team search --workflow ranking --tag env=prod",
    )
    create.add_argument("--team", required=True, type=_label, metavar="T", help="who pays")
    create.add_argument("--workflow", required=True, type=_label, metavar="W", help="what for")
    create.add_argument("--tag", action="append", default=[], type=_tag, metavar="NAME=VALUE", help="may be repeated")
    create.add_argument("--name", default="", metavar="N", help="a note for people")
    create.add_argument(
        "--model", action="append", default=[], type=_glob, metavar="GLOB", help="models it may use (default: all)"
    )
    create.add_argument(
        "--provider",
        action="append",
        default=[],
        type=_glob,
        metavar="GLOB",
        help="providers it may use (default: all)",
    )
    create.add_argument("--expires", type=moment, metavar="WHEN", help="date or RFC 3339 time")
    create.add_argument("--format", choices=("text", "json"), default="text")
    create.set_defaults(run=run_create)
    listing = command(actions, "list", "all keys, those of the configuration included", "spendgate keys list")
    listing.add_argument("--team", action="append", default=[], metavar="T", help="only this team's; may be repeated")
    listing.add_argument("--format", choices=("table", "json"), default="table")
    listing.set_defaults(run=run_list)
    rotate = command(
        actions,
        "rotate",
        "give a key's owner a new key beside it",
        "spendgate keys rotate key_3f8a5c0d9e21 --old-expires 2027-02-01",
    )
    rotate.add_argument("id", metavar="ID", help="the old key")
    rotate.add_argument(
        "--old-expires", type=moment, metavar="WHEN", help="when the old key ends (default: when it is revoked)"
    )
    rotate.add_argument(
        "--expires", type=moment, metavar="WHEN", help="when the new one ends (default: as the old one)"
    )
    rotate.add_argument("--format", choices=("text", "json"), default="text")
    rotate.set_defaults(run=run_rotate)
    revoke = command(actions, "revoke", "make a key useless, for good", "spendgate keys revoke key_3f8a5c0d9e21")
    revoke.add_argument("id", metavar="ID")
    revoke.set_defaults(run=run_revoke)


def run_create(options: argparse.Namespace) -> int:
    from gateway.identity.principal import Principal
    from gateway.identity.secret import digest, new_secret
    from gateway.identity.store import insert_key

    now_ns = time.time_ns()
    _future("--expires", options.expires, now_ns)
    if len(options.name) > 128 or not options.name.isprintable():
        raise UserError("--name is at most 128 printable characters")
    tags = dict(options.tag)
    if len(tags) < len(options.tag):
        raise UserError("--tag gives a name twice: a tag has one value")
    secret = new_secret()
    principal = Principal(
        key_id="key_" + secrets.token_hex(6),
        team=options.team,
        workflow=options.workflow,
        tags=tuple(sorted(tags.items())),
        models=tuple(options.model),
        providers=tuple(options.provider),
        expires_ns=options.expires,
    )
    with _writing(options) as connection:
        insert_key(connection, principal, digest(secret), options.name, now_ns)
    _show_secret(options, {"id": principal.key_id, "secret": secret})
    return 0


def run_rotate(options: argparse.Namespace) -> int:
    from gateway.identity.secret import digest, new_secret
    from gateway.identity.store import Replacement, rotate_key

    now_ns = time.time_ns()
    _future("--expires", options.expires, now_ns)
    _future("--old-expires", options.old_expires, now_ns)
    secret = new_secret()
    new = Replacement("key_" + secrets.token_hex(6), digest(secret), options.expires)
    with _writing(options) as connection:
        connection.execute("BEGIN IMMEDIATE")
        if not rotate_key(connection, options.id, new, now_ns, options.old_expires):
            raise _no_such_key(options, connection)
        connection.execute("COMMIT")
    _show_secret(options, {"id": new.key_id, "secret": secret, "replaces": options.id})
    if options.format == "text":
        until = f"until {_time(options.old_expires)}" if options.old_expires is not None else "until you revoke it"
        print(f"{options.id} works {until}, unless it ends before.")
    return 0


def _show_secret(options: argparse.Namespace, made: dict[str, str]) -> None:
    if options.format == "json":
        print(json.dumps(made))
        return
    print(f"id:     {made['id']}")
    print(f"secret: {made['secret']}")
    print("The secret is shown this once; only its hash is kept.")


def _future(name: str, at_ns: int | None, now_ns: int) -> None:
    from gateway.ledger.rows import rfc3339

    if at_ns is not None and at_ns <= now_ns:
        raise UserError(f"{name} {rfc3339(at_ns)} is in the past")


def run_list(options: argparse.Namespace) -> int:
    from gateway.identity.store import list_keys
    from gateway.ledger.connections import connect_reader

    connection = connect_reader(ledger_file(options))
    try:
        keys = [*_configured(options), *_made(list_keys(connection))]
    finally:
        connection.close()
    if options.team:
        keys = [key for key in keys if key["team"] in options.team]
    if options.format == "json":
        print(json.dumps(keys, indent=2))
        return 0
    if not keys and not options.team:
        print("There are no keys. Make one: spendgate keys create --team T --workflow W")
        return 0
    headers = ["id", "name", "team", "workflow", "tags", "models", "providers", "state", "created", "expires"]
    rows = [[_cell(key[header]) for header in headers] for key in keys]
    print(table(headers, rows, set()))
    return 0


def run_revoke(options: argparse.Namespace) -> int:
    from gateway.identity.store import revoke_key

    with _writing(options) as connection:
        if not revoke_key(connection, options.id, time.time_ns()):
            raise _no_such_key(options, connection)
    print(f"{options.id} is revoked")
    return 0


def _no_such_key(options: argparse.Namespace, connection: sqlite3.Connection) -> UserError:
    """Why nothing can be done to the key that was named."""
    from gateway.config.problems import near
    from gateway.identity.store import list_keys

    states = {key["id"]: key["state"] for key in _made(list_keys(connection))}
    if options.id in states:
        hint = "" if states[options.id] == "revoked" else ": make a new key instead"
        return UserError(f"{options.id} is {states[options.id]} already{hint}")
    if options.id in {key["id"] for key in _configured(options)}:
        hint = "take it out there, then reload (SIGHUP)"
        if options.action == "rotate":
            hint = "give it old_secret and old_expires there, then reload (SIGHUP)"
        return UserError(f"{options.id} stands in {options.config}: {hint}")
    return UserError(f'no key has the id "{options.id}". {near(options.id, states)}'.rstrip())


@contextmanager
def _writing(options: argparse.Namespace) -> Iterator[sqlite3.Connection]:
    from gateway.ledger.connections import connect

    connection = connect(ledger_file(options))
    try:
        yield connection
    finally:
        connection.close()


def _configured(options: argparse.Namespace) -> list[dict[str, Any]]:
    from gateway.config.values import moment_ns

    out = []
    for key in configuration(options.config).keys:
        expires_ns = moment_ns(key.expires) if key.expires is not None else None
        out.append(
            {
                "id": key.id,
                "name": "",
                "team": key.team,
                "workflow": key.workflow,
                "tags": dict(key.tags),
                "models": list(key.models),
                "providers": list(key.providers),
                "state": _state(None, expires_ns),
                "created": "configuration",
                "expires": _time(expires_ns),
            }
        )
    return out


def _made(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "id": row["id"],
            "name": row["name"] or "",
            "team": row["team"],
            "workflow": row["workflow"],
            "tags": json.loads(row["tags"]),
            "models": json.loads(row["models"] or "[]"),
            "providers": json.loads(row["providers"] or "[]"),
            "state": _state(row["revoked_ns"], row["expires_ns"]),
            "created": _time(row["created_ns"]),
            "expires": _time(row["expires_ns"]),
        }
        for row in rows
    ]


def _state(revoked_ns: int | None, expires_ns: int | None) -> str:
    if revoked_ns is not None:
        return "revoked"
    return "expired" if expires_ns is not None and expires_ns <= time.time_ns() else "active"


def _time(at_ns: int | None) -> str:
    from gateway.ledger.rows import rfc3339

    return rfc3339(at_ns)[:19] + "Z" if at_ns is not None else ""


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={text}" for name, text in value.items())
    return ",".join(value) if isinstance(value, list) else str(value)


def _label(text: str) -> str:
    from gateway.config.values import label

    return _valid(label, text)


def _glob(text: str) -> str:
    from gateway.config.values import glob

    return _valid(glob, text)


def _tag(text: str) -> tuple[str, str]:
    from gateway.config.values import label, tag_name

    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f'"{text}" must be NAME=VALUE, like env=prod')
    return _valid(tag_name, name), _valid(label, value)


def _valid(check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'"{text}" {error}') from error
