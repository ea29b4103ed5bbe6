"""How far estimates of usage are from what providers reported, by family of models, on recorded exchanges.

    .venv/bin/python bench/estimates.py [DIRECTORY]

DIRECTORY holds recorded exchanges, one JSON file each, and is ``../shared/wire`` where it is not named. Of every
answer that reported its tokens, the estimate is made from what the gateway would have of it, had it reported nothing:
request and answer. ``at once`` is the first estimate of a model; ``learned`` comes after the gateway has seen the other
recordings of the same model. The error is that of a single call; the sum's is that of all calls together.
"""

from __future__ import annotations

import os
import statistics
import sys
from collections import defaultdict
from pathlib import Path

if len(sys.argv) > 1:
    os.environ["WIRE_CORPUS"] = sys.argv[1]
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "wire"))

import corpus

from gateway.tokens.estimate import Estimator
from gateway.tokens.vocabulary import Vocabularies
from gateway.wire.facts import Facts
from gateway.wire.usage import Reading, Usage

FAMILIES = (
    ("gpt-5", "GPT-5"), ("gpt-4o", "GPT-4o"), ("gpt-4.1", "GPT-4.1"), ("gpt-3.5", "GPT-3.5"), ("gpt-35", "GPT-3.5"),
    ("gpt-oss", "gpt-oss"), ("gpt-4", "GPT-4"), ("o1", "OpenAI o"), ("o3", "OpenAI o"), ("o4", "OpenAI o"),
    ("claude", "Claude"), ("gemini", "Gemini"), ("gemma", "Gemma"), ("llama", "Llama"), ("mistral", "Mistral"),
    ("ministral", "Mistral"), ("mixtral", "Mistral"), ("magistral", "Mistral"), ("nova", "Nova"), ("titan", "Titan"),
    ("command", "Command"), ("palmyra", "Palmyra"), ("deepseek", "DeepSeek"), ("qwen", "Qwen"), ("glm", "GLM"),
    ("grok", "Grok"), ("kimi", "Kimi"),
)  # fmt: skip
SMALLEST = 16
"""Calls with fewer tokens are left out: a token more or less would be a large part of them."""


def family(model: str) -> str:
    name = model.lower()
    return next((title for mark, title in FAMILIES if mark in name), "others")


class Call:
    """One recorded call: what the gateway knows of it, and what was reported."""

    def __init__(self, case: corpus.Case) -> None:
        self.case = case
        self.facts: Facts = corpus.facts_of(case)
        meter = corpus.meter_of(case)
        meter.feed(case.response_body)
        meter.flush()
        self.sample = meter.sample()
        read = meter.reading()
        self.reported: Usage = read.usage or Usage()
        self.model = read.model or self.facts.model
        self.prose = not self.reported.reasoning_tokens and b"tool" not in case.request_body + case.response_body
        """Neither tools nor reasoning: all that was said is in the answer's text."""
        self.blind = Reading(model=read.model, sample=self.sample, decoded_bytes=read.decoded_bytes)


def usable(case: corpus.Case) -> bool:
    return case.usage is not None and case.status == 200 and not case.usage.get("search_units")


def errors(found: list[tuple[int, int]]) -> tuple[float, float]:
    """Median of the single errors and the error of the sum, each as a part of what was reported."""
    singles = [abs(estimated - told) / told for estimated, told in found]
    told = sum(told for _, told in found)
    return statistics.median(singles), sum(estimated for estimated, _ in found) / told - 1


def main() -> None:
    calls = [Call(case) for case in corpus.cases() if usable(case)]
    vocabularies = Vocabularies()
    rows: dict[tuple[str, str], dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    by_model: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_model[call.model].append(call)
    for model, same in by_model.items():
        for call in same:
            for way, taught in (("at once", []), ("learned", [other for other in same if other is not call])):
                if way == "learned" and not taught:
                    continue
                estimator = Estimator(vocabularies)
                for other in taught:
                    counted = estimator.counted(other.facts, other.case.request_body, other.blind, model)
                    estimator.observe("p", model, other.reported, 0, 0, stream=other.facts.stream)
                    estimator.learn("p", model, counted, other.reported)
                found = estimator.estimate(call.facts, call.case.request_body, call.blind, "p", model)
                told = call.reported
                if told.input_tokens_total >= SMALLEST and not call.facts.input_open:
                    rows[family(model), "input"][way].append((found.input_tokens_total, told.input_tokens_total))
                if told.output_tokens_total >= SMALLEST:
                    rows[family(model), "output"][way].append((found.output_tokens_total, told.output_tokens_total))
                    if call.prose:
                        rows["all, plain prose", "output"][way].append(
                            (found.output_tokens_total, told.output_tokens_total)
                        )
    print(f"{len(calls)} recorded calls of {len(by_model)} models\n")
    print("| models | tokens | calls | at once: one call | all calls | learned: calls | one call | all calls |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for (name, side), ways in sorted(rows.items()):
        cells = []
        for way in ("at once", "learned"):
            one, total = errors(ways[way]) if ways[way] else (None, None)
            shown = ("", "") if one is None or total is None else (f"{one:.0%}", f"{total:+.0%}")
            cells += [str(len(ways[way])), *shown]
        print(f"| {name} | {side} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
