"""Writes ``models.json`` from a litellm wheel: ``python -m pricing.data.build_models litellm-….whl``.

Facts only: how much a model takes and gives, and what it is for. litellm is MIT-licensed, see NOTICE. Where it says
less than the provider does, the provider's figure stands here.

Sources: Amazon Bedrock user guide, "Anthropic Claude 3.7 Sonnet" ("up to 128K output tokens per request (up to 64K
output tokens is considered generally available, but outputs between 64K and 128K are in beta)"); Anthropic, "Models
overview" (Sonnet 4.6: 128k).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent / "models.json"
MEMBER = "litellm/model_prices_and_context_window_backup.json"
GROUPS: dict[str, tuple[str, ...]] = {
    "anthropic": ("anthropic",),
    "azure": ("azure", "azure_ai", "azure_text"),
    "bedrock": ("bedrock", "bedrock_converse", "bedrock_mantle"),
    "cerebras": ("cerebras",),
    "cohere": ("cohere", "cohere_chat"),
    "crusoe": ("crusoe",),
    "deepseek": ("deepseek",),
    "fireworks": ("fireworks_ai", "fireworks_ai-embedding-models"),
    "gemini": ("gemini",),
    "groq": ("groq",),
    "mistral": ("mistral", "codestral", "text-completion-codestral"),
    "ollama": ("ollama",),
    "openai": ("openai", "text-completion-openai"),
    "perplexity": ("perplexity",),
    "snowflake": ("snowflake",),
    "together": ("together_ai",),
    "vertex": ("vertex_ai", "vertex_ai-*"),
    "voyageai": ("voyage",),
    "xai": ("xai",),
    "zai": ("zai",),
}
"""Our kinds and the provider names under which litellm lists their models."""


CORRECTIONS = {
    "bedrock": {"anthropic.claude-3-7-sonnet": {"out": 128_000}, "anthropic.claude-sonnet-4-6": {"out": 128_000}},
}
"""By kind: a part of the name of models that give or take more than litellm says."""
_SCOPE = re.compile(r"^(?:us|eu|apac|global|jp|au|ca|us-gov|in)\.")


def main() -> int:
    """Builds the file; prints what it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=TARGET)
    arguments = parser.parse_args()
    version = arguments.wheel.name.split("-")[1]
    with zipfile.ZipFile(arguments.wheel) as wheel:
        rows: dict[str, Any] = json.loads(wheel.read(MEMBER))
    kinds = {kind: corrected(kind, models_of(rows, groups)) for kind, groups in GROUPS.items()}
    source = {
        "name": "litellm",
        "version": version,
        "date": datetime.now(tz=UTC).date().isoformat(),
        "licence": "MIT",
        "url": "https://github.com/BerriAI/litellm",
    }
    arguments.out.write_text(rendered(source, kinds), encoding="utf-8")
    sys.stdout.write(f"{arguments.out}: litellm {version}, {sum(map(len, kinds.values()))} models\n")
    return 0


def models_of(rows: dict[str, Any], groups: tuple[str, ...]) -> dict[str, dict[str, int]]:
    """Limits by model name. Of rows with one name the larger limits stay, so that a bound made of them holds."""
    models: dict[str, dict[str, int]] = {}
    for name, row in rows.items():
        if not belongs(row.get("litellm_provider") or "", groups):
            continue
        facts = {"in": row.get("max_input_tokens"), "out": row.get("max_output_tokens")}
        known = models.setdefault(bare(name, row["litellm_provider"]), {})
        for key, value in facts.items():
            if isinstance(value, int) and value > 0:
                known[key] = max(value, known.get(key, 0))
    return {name: models[name] for name in sorted(models) if models[name]}


def corrected(kind: str, models: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """With what is known better; of the regions in which one model is served the larger limits stay for all."""
    largest: dict[str, dict[str, int]] = {}
    for name, facts in models.items():
        known = largest.setdefault(_SCOPE.sub("", name), {})
        for better in (facts, *(more for part, more in CORRECTIONS.get(kind, {}).items() if part in name)):
            for key, value in better.items():
                known[key] = max(value, known.get(key, 0))
    return {name: dict(largest[_SCOPE.sub("", name)]) for name in models}


def belongs(provider: str, groups: tuple[str, ...]) -> bool:
    """Whether litellm's provider is in a group; ``*`` at the end stands for anything."""
    return any(provider == one or (one.endswith("*") and provider.startswith(one[:-1])) for one in groups)


def bare(name: str, provider: str) -> str:
    """The name as the provider's own API has it, in lower case."""
    prefix, _, rest = name.partition("/")
    if rest and (prefix == provider or provider.startswith((prefix + "_", prefix + "-"))):
        name = rest
    if provider.startswith("bedrock"):
        name = name.rpartition("/")[2]
    return name.lower()


def rendered(source: dict[str, str], kinds: dict[str, dict[str, dict[str, int]]]) -> str:
    """JSON with one model a line."""
    blocks = []
    for kind, models in kinds.items():
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(facts)}" for name, facts in models.items())
        blocks.append(f'"{kind}": {{\n{lines}}}')
    return f'{{"source": {json.dumps(source)},\n"kinds": {{\n' + ",\n".join(blocks) + "}}\n"


if __name__ == "__main__":
    sys.exit(main())
