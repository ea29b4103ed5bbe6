"""Many keys and quotas: how long a check and a start take, the memory, what a call costs beside few keys.

    python bench/keys.py [KEYS] [QUOTAS] [SECONDS]

Each key is of a team of its own; every tenth has a quota where there are a tenth as many quotas. The gateways take
turns of so many seconds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from proxying import builds, contenders, machine
from proxying.rounds import FULL, Rounds

WHAT = "CPU µs a call"


def secret(number: int) -> str:
    return f"sk-bench-{number:08d}-0123456789abcdef0123456789"


def entries(keys: int, quotas: int) -> str:
    """Of the configuration: the first key has a quota, the last has none."""
    parts = [
        f'[[keys]]\nid = "key-{number}"\nsecret = "{secret(number)}"\nteam = "team-{number}"\nworkflow = "w"\n'
        for number in range(keys)
    ]
    parts += [
        f'[[quotas]]\nname = "quota-{number}"\nmatch = {{ team = "team-{number * (keys // quotas)}" }}\n'
        'usd = 1_000_000\nwindow = "month"\n'
        for number in range(quotas)
    ]
    return "".join(parts)


def compare(keys: int, quotas: int, seconds: float, folder: Path) -> None:
    core, other = machine.cores()
    source = next(iter(builds.found().values()))
    print(f"{builds.told()}\n{keys:,} keys, {quotas:,} quotas beside those of the bench.\n", flush=True)
    rounds = Rounds(FULL, folder, other)
    with (
        contenders.provided(folder, {other}) as provider,
        contenders.gateway("few", source, folder, provider, {core}) as few,
    ):
        began = time.monotonic()
        with contenders.gateway("many", source, folder, provider, {core}, more=entries(keys, quotas)) as many:
            print(f"serving after {time.monotonic() - began:.1f} s, {machine.memory_mib(many.pid):.0f} MiB", flush=True)
            began = time.monotonic()
            if not contenders.check(source, folder / "many" / "config.toml"):
                raise SystemExit("the configuration is wrong")
            print(f"checked in {time.monotonic() - began:.1f} s", flush=True)
            own = replace(many, keys=(secret(0), secret(keys - 1)))
            taking_turns = (few, own, replace(many, name="many, two of the bench's"))
            for turn in range(FULL.rounds + 1):
                for one in taking_turns:
                    used = rounds.load(one, seconds=seconds)["cpu_us"]
                    if turn:
                        rounds.note(WHAT, one, used)
    for one in taking_turns:
        print(f"{WHAT}, {one.name}: {rounds.middle(WHAT, one.name):.1f}")


def main(arguments: list[str]) -> int:
    defaults = ("100000", "10000", "2")
    keys, quotas, seconds = (*arguments, *defaults[len(arguments) :])
    with tempfile.TemporaryDirectory(prefix="spendgate-keys-") as name:
        compare(int(keys), int(quotas), float(seconds), Path(name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
