"""CPU time of reserving and settling one call, by the number of rules and of live counters; memory of a counter.

Run: python bench/quota.py
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gateway.config.quotas import QuotaConfig
from gateway.quota.engine import Amounts, Quotas, Subject
from gateway.quota.rule import from_config
from gateway.quota.terms import Reservation

NOW = 1_793_491_200_000_000_000
CALLS = 50_000
ROUNDS = 5
BOUND, USED = Amounts(50_000, 1200, 400), Amounts(21_000, 300, 180)


def quota(name: str, **more: object) -> QuotaConfig:
    return QuotaConfig.model_validate({"name": name, "usd": Decimal(1_000_000), "window": "month", **more})


def cost(quotas: Quotas, subjects: list[Subject], calls: int = CALLS) -> float:
    """Median microseconds of CPU for one reserve and settle."""
    rounds = []
    for number in range(ROUNDS):
        began = time.process_time()
        for call in range(calls):
            held = quotas.reserve(f"{number}-{call}", subjects[call % len(subjects)], BOUND, NOW)
            assert isinstance(held, Reservation)
            quotas.settle(held, USED, NOW)
        rounds.append((time.process_time() - began) / calls * 1e6)
    return sorted(rounds)[ROUNDS // 2]


def main() -> None:
    subject = Subject("team-0", "flow", "key", "openai", "gpt-4o")
    print("| rules | that match a call | live counters | µs CPU a call |")
    print("| ---: | ---: | ---: | ---: |")
    for rules, matching in ((1, 1), (10, 5), (10, 10), (1000, 3), (10_000, 3)):
        configs = [quota(f"own-{n}") for n in range(matching)]
        configs += [quota(f"other-{n}", match={"team": f"team-{n + 1}"}) for n in range(rules - matching)]
        quotas = Quotas([from_config(config) for config in configs])
        print(f"| {rules} | {matching} | {matching} | {cost(quotas, [subject]):.2f} |")
    quotas = Quotas([from_config(quota("per-flow", per=("workflow",)))], max_counters=200_000)
    subjects = [Subject("team", f"flow-{n}", "key", "openai", "gpt-4o") for n in range(100_000)]
    tracemalloc.start()
    for subject in subjects:
        held = quotas.reserve(subject.workflow, subject, BOUND, NOW)
        assert isinstance(held, Reservation)
        quotas.settle(held, USED, NOW)
    size = tracemalloc.get_traced_memory()[0] / len(subjects)
    tracemalloc.stop()
    for callers in (10_000, len(subjects)):
        row = f"| 1 | 1 | {len(quotas.counters)}, {callers} of them called in turn |"
        print(f"{row} {cost(quotas, subjects[:callers], max(CALLS, callers)):.2f} |")
    print(f"\nmemory of a counter: {size:.0f} bytes")


if __name__ == "__main__":
    main()
