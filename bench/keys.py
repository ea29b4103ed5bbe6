"""Many keys and quotas: how long a check and a start take, the memory, what a call costs beside few keys.

    python bench/keys.py [KEYS] [QUOTAS] [SECONDS]

Each key is of a team of its own; every tenth has a quota where there are a tenth as many quotas. The gateways take
turns of so many seconds.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from proxying import builds, contenders, machine
from proxying.contenders import HERE, Contender
from proxying.rounds import FULL, Rounds

WHAT = "CPU µs a call"


def written(keys: int, quotas: int, port: int, admin: int, provider: int, folder: Path) -> list[str]:
    """Put the configuration into the folder; answers the secrets of two keys, one with a quota and one without."""
    secrets = [f"sk-bench-{number:08d}-0123456789abcdef0123456789" for number in range(keys)]
    parts = [contenders.config(port, admin, provider, folder)]
    parts += [
        f'[[keys]]\nid = "key-{number}"\nsecret = "{secret}"\nteam = "team-{number}"\nworkflow = "w"'
        for number, secret in enumerate(secrets)
    ]
    parts += [
        f'[[quotas]]\nname = "quota-{number}"\nmatch = {{ team = "team-{number * (keys // quotas)}" }}\n'
        'usd = 1_000_000\nwindow = "month"'
        for number in range(quotas)
    ]
    (folder / "config.toml").write_text("\n".join(parts) + "\n")
    return [secrets[0], secrets[-1]]


def compare(keys: int, quotas: int, seconds: float, folder: Path) -> None:
    core, other = machine.cores()
    source = next(iter(builds.found().values()))
    provider, port, admin = (contenders.free_port() for _ in range(3))
    many = folder / "many"
    many.mkdir()
    chosen = written(keys, quotas, port, admin, provider, many)
    command = [sys.executable, "-P", "-m", "gateway.cli.main"]
    config, env = ["--config", str(many / "config.toml")], {"PYTHONPATH": str(source), "SPENDGATE_PLAIN": "1"}
    print(f"{builds.told()}\n{keys:,} keys, {quotas:,} quotas beside those of the bench.\n", flush=True)
    began = time.monotonic()
    subprocess.run([*command, "check", *config], env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL)
    print(f"checked in {time.monotonic() - began:.1f} s", flush=True)
    rounds = Rounds(FULL, folder, other)
    with (
        contenders.process(
            [sys.executable, str(HERE / "provider.py"), str(provider)], provider, folder / "p.log", {other}
        ),
        contenders.gateway("few", source, folder, provider, {core}) as few,
    ):
        began = time.monotonic()
        with contenders.process([*command, "serve", *config], port, many / "gateway.log", {core}, **env) as pid:
            print(f"serving after {time.monotonic() - began:.1f} s, {machine.memory_mib(pid):.0f} MiB", flush=True)
            has_many = Contender("many", pid, port, few.path, tuple(chosen))
            taking_turns = (few, has_many, replace(has_many, name="many, two of the bench's", keys=few.keys))
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
