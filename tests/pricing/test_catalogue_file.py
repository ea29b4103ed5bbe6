"""The packaged catalogue: fresh, complete, readable without genai-prices, and replaceable by a newer one."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from fnmatch import fnmatch
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import msgspec
import pytest
from genai_oracle import ALL

from gateway.wire.usage import Usage
from pricing.book import PriceBook
from pricing.cards import card_of
from pricing.catalogue import CatalogueFile, Prices, catalogue_of, load
from pricing.data.build import provider_json
from pricing.money import NANO
from pricing.update import CatalogueError, parse, read_bytes, rendered, save, take

NOW = int(datetime(2026, 11, 24, tzinfo=UTC).timestamp()) * NANO
PACKAGED = resources.files("pricing.data").joinpath("catalogue.json").read_bytes()


def test_the_packaged_file_is_what_the_installed_genai_prices_builds() -> None:
    built = parse(json.dumps([provider_json(one) for one in ALL]).encode(), NOW).file
    packaged = msgspec.json.decode(PACKAGED, type=CatalogueFile)
    assert built.providers == packaged.providers
    assert packaged.source.version == metadata.version("genai-prices")
    assert rendered(packaged) == PACKAGED


def test_prices_are_found_without_genai_prices_being_imported() -> None:
    code = (
        "import sys; from pricing.book import PriceBook; from pricing.catalogue import load\n"
        "price = PriceBook((), load()).find('openai', 'gpt-4o', 1795500000000000000)\n"
        "assert price.source == 'catalogue genai-prices 0.2.3 openai/gpt-4o', price.source\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('genai_prices', 'gateway', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_catalogue_says_what_it_is() -> None:
    catalogue = load()
    assert catalogue.version == "genai-prices 0.2.3"
    assert "2026-01-01" < catalogue.source.date < "2027-01-01"
    assert catalogue.source.licence == "MIT"


@pytest.mark.parametrize(
    ("kind", "model", "source"),
    [
        ("openai", "gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("azure", "gpt-4.1-mini-2025-04-14", "openai/gpt-4.1-mini"),
        ("anthropic", "claude-sonnet-4-5-20250929", "anthropic/claude-sonnet-4-5"),
        ("gemini", "models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("vertex", "publishers/google/models/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("vertex", "publishers/anthropic/models/claude-sonnet-4-5@20250929", "google/claude-sonnet-4-5"),
        ("vertex", "google/gemini-2.5-flash", "google/gemini-2.5-flash"),
        (
            "bedrock",
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws/regional.anthropic.claude-sonnet-4-5-20250929-v1:0",
        ),
        ("xai", "grok-4-0709", "x-ai/grok-4-0709"),
        ("openrouter", "openai/gpt-4o:nitro", "openrouter/openai/gpt-4o"),
        ("huggingface", "deepseek-ai/DeepSeek-R1:together", "huggingface_together/deepseek-ai/DeepSeek-R1"),
        ("openai", "gpt-5.2-20251211", "openai/gpt-5.2"),
    ],
)
def test_a_kind_and_the_name_in_its_own_api_find_the_model(kind: str, model: str, source: str) -> None:
    price = PriceBook((), load()).find(kind, model, NOW)
    assert price is not None
    assert price.source == f"catalogue genai-prices 0.2.3 {source}"


@pytest.mark.parametrize("name", ["ft:gpt-4.1-2025-04-14:acme:support:BxYz12", "ft:gpt-4.1-2025-04-14:acme::BxYz12"])
def test_a_fine_tuned_model_costs_what_its_base_does_fine_tuned(name: str) -> None:
    price = PriceBook((), load()).find("openai", name, NOW)
    assert price is not None
    assert price.source.endswith("openai/ft:gpt-4.1-2025-04-14")


def test_a_routed_model_without_a_named_provider_is_priced_as_the_dearest_that_may_serve_it() -> None:
    prices = PriceBook((), load())
    usage = Usage(input_tokens_total=1_000_000, output_tokens_total=1_000_000)
    routed = prices.find("huggingface", "deepseek-ai/DeepSeek-R1", NOW)
    assert routed is not None
    assert routed.source.endswith("deepseek-ai/DeepSeek-R1 (dearest of huggingface_*)")
    offers = [
        prices.find(one, "deepseek-ai/DeepSeek-R1", NOW) for one in prices.catalogue.lists if "huggingface" in one
    ]
    costs = [offer.bill(usage, at_ns=NOW).nanousd for offer in offers if offer is not None]
    assert len(costs) > 1
    assert routed.bill(usage, at_ns=NOW).nanousd == max(costs)
    fastest = prices.find("huggingface", "deepseek-ai/DeepSeek-R1:fastest", NOW)
    assert fastest is not None
    assert fastest.source == routed.source


@pytest.mark.parametrize(
    ("kind", "model", "usage", "nanousd"),
    [
        ("cohere", "rerank-english-v3.0", Usage(search_units=3), 6_000_000),
        ("cohere", "embed-english-light-v3.0", Usage(input_tokens_total=1000), 100_000),
        ("snowflake", "claude-sonnet-4-6", Usage(input_tokens_total=1000, output_tokens_total=100), 4_500_000),
        ("crusoe", "openai/gpt-oss-120b", Usage(input_tokens_total=1000), 800_000),
        ("gemini", "imagen-3.0-generate-001", Usage(output_images=2), 80_000_000),
    ],
)
def test_a_model_that_the_catalogue_lacks_is_priced_by_the_supplement(
    kind: str, model: str, usage: Usage, nanousd: int
) -> None:
    price = PriceBook((), load()).find(kind, model, NOW)
    assert price is not None
    assert price.source == f"catalogue litellm 1.110.2 {kind}/{model}"
    assert price.bill(usage, at_ns=NOW).nanousd == nanousd


def test_the_supplement_prices_no_model_that_the_catalogue_prices() -> None:
    catalogue = load()
    assert catalogue.supplement is not None
    for one in catalogue.supplement.lists.values():
        for model in one.models:
            found = catalogue.find(one.id, model.id)
            assert found is not None, (one.id, model.id)
            assert found.version == "litellm 1.110.2", (one.id, model.id)


NEWER: list[dict[str, Any]] = [
    {
        "id": "openai",
        "name": "OpenAI",
        "api_pattern": "https://api\\.openai\\.com",
        "extractors": [{"root": "usage", "mappings": []}],
        "models": [
            {
                "id": "gpt-4o",
                "name": "GPT 4o",
                "description": "x",
                "match": {"or": [{"equals": "gpt-4o"}, {"starts_with": "gpt-4o-2"}]},
                "context_window": 128000,
                "prices": [
                    {"prices": {"input_mtok": 2.5, "output_mtok": 10}},
                    {"constraint": {"start_date": "2026-11-01"}, "prices": {"input_mtok": 2.4, "output_mtok": 9.6}},
                    {
                        "constraint": {"start_time": "22:00:00Z", "end_time": "02:00:00Z"},
                        "prices": {"input_mtok": {"base": 1.2, "tiers": [{"start": 1000, "price": 0.1}]}},
                    },
                ],
                "price_variants": [{"when": {"service_tier": "flex"}, "prices": {"input_mtok": 1}}],
            }
        ],
    }
]


@pytest.mark.parametrize("payload", [NEWER, {"providers": NEWER}, {"units": {}, "providers": NEWER}])
def test_genai_prices_own_file_is_taken_with_its_exact_decimals(payload: Any, tmp_path: Path) -> None:
    update = parse(json.dumps(payload).encode(), NOW)
    save(update.file, tmp_path / "prices.json")
    catalogue = load(tmp_path / "prices.json")
    assert catalogue.version.startswith("genai-prices data ")
    assert catalogue.source.date == "2026-11-01"
    price = PriceBook((), catalogue).find("openai", "gpt-4o", NOW + 12 * 3600 * NANO)
    assert price is not None
    usage = Usage(input_tokens_total=1_000_000)
    assert price.bill(usage, at_ns=NOW + 12 * 3600 * NANO).nanousd == 2_400_000_000
    assert price.bill(usage, at_ns=NOW + 12 * 3600 * NANO, service_tier="flex").nanousd == 1_000_000_000
    assert price.bill(usage, at_ns=NOW + 3600 * NANO).nanousd == 100_000_000  # at night, above 1000 tokens
    assert [path.name for path in tmp_path.iterdir()] == ["prices.json"]


def changed(**model: Any) -> bytes:
    return json.dumps([{**NEWER[0], "models": [NEWER[0]["models"][0], {**NEWER[0]["models"][0], **model}]}]).encode()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", ["not JSON"]),
        (b'"prices"', ["not a catalogue"]),
        (b"[]", ["there is no price list"]),
        (b'[{"id": "a"}]', ["providers[0]", "models"]),
        (json.dumps([*NEWER, *NEWER]).encode(), ["'openai' is there more than once"]),
        (changed(id=7), ["providers[0] (openai) models[1]", "id", "Expected `str`"]),
        (
            changed(id="x", match={"equals": "a", "contains": "b"}),
            ["models[1] (x)", "match", "a match clause is one of"],
        ),
        (changed(id="x", match={"regex": "("}), ["models[1] (x)", "not a regular expression"]),
        (changed(id="x", prices={"input_mtok": -1}), ["models[1] (x)", "0 or more, not -1"]),
        (changed(id="x", prices={"input_mtok": "dear"}), ["models[1] (x)", "prices"]),
        (changed(id="x", prices=[]), ["models[1] (x)", "empty list"]),
        (changed(id="x", prices=[{"constraint": {}, "prices": {}}]), ["models[1] (x)", "either start_date or"]),
    ],
)
def test_a_bad_catalogue_is_refused_with_what_is_wrong_and_where(raw: bytes, words: list[str]) -> None:
    with pytest.raises(CatalogueError) as raised:
        parse(raw, NOW)
    text = "\n".join(raised.value.problems)
    for word in words:
        assert word in text


def test_all_problems_of_a_catalogue_are_told_at_once() -> None:
    models = [{"id": "a"}, {"id": "b", "match": {}, "prices": {}}, {"id": "c", "match": {"equals": "c"}, "prices": 3}]
    with pytest.raises(CatalogueError) as raised:
        parse(json.dumps([{"id": "one", "models": models}, {"id": "two"}]).encode(), NOW)
    assert len(raised.value.problems) == 4


def test_what_is_not_billed_is_told() -> None:
    update = parse(changed(id="x", prices={"input_mtok": 1, "smell_mtok": 2}), NOW)
    assert update.remarks == ("providers[0] (openai) models[1] (x): the price 'smell_mtok' is not billed",)
    assert parse(PACKAGED, NOW).remarks == ()


def test_a_failed_read_leaves_the_catalogue_in_place(tmp_path: Path) -> None:
    target = tmp_path / "prices.json"
    save(parse(changed(id="x"), NOW).file, target)
    before = target.read_bytes()
    with pytest.raises(CatalogueError):
        save(parse(b"[]", NOW).file, target)
    assert target.read_bytes() == before


def test_an_address_is_fetched_by_the_callable_and_a_path_is_read(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_bytes(b"[1]")
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return b"[2]"

    assert read_bytes(str(tmp_path / "file.json"), fetch) == b"[1]"
    assert asked == []
    assert read_bytes("https://prices.example/data.json", fetch) == b"[2]"
    assert asked == ["https://prices.example/data.json"]


def test_a_catalogue_can_do_without_a_list_that_another_falls_back_on() -> None:
    lists = [{**NEWER[0], "id": "azure", "models": [], "fallback_model_providers": ["openai"]}]
    update = parse(json.dumps(lists).encode(), NOW)
    assert update.remarks == ("azure: falls back on 'openai', which is not there",)
    assert PriceBook((), catalogue_of(update.file)).find("azure", "gpt-4o", NOW) is None


def test_a_newer_catalogue_is_compared_first_and_taken_when_wanted(tmp_path: Path) -> None:
    target, newer = tmp_path / "prices.json", tmp_path / "newer.json"
    newer.write_bytes(changed(id="gpt-new"))
    save(parse(json.dumps(NEWER).encode(), NOW).file, target)
    current = load(target)

    def unreachable(url: str) -> bytes:
        raise OSError(f"{url} can't be reached")

    looked_at = take(str(newer), target, current, unreachable, NOW, keep=False)
    assert [(change.model, change.what) for change in looked_at.changes] == [("gpt-new", "added")]
    assert load(target).version == current.version
    taken = take(str(newer), target, current, unreachable, NOW)
    assert (taken.before, taken.after) == (current.version, load(target).version)
    assert taken.changes == looked_at.changes
    with pytest.raises(OSError, match="can't be reached"):
        take("https://prices.example/data.json", target, current, unreachable, NOW)
    assert load(target).version == taken.after


ADDITIONS = json.loads(resources.files("pricing.data").joinpath("additions.json").read_bytes())


@pytest.mark.parametrize(
    "added", ADDITIONS, ids=lambda one: f"{one['list']} {(*one.get('models', ()), *one.get('names', ()))[0]}"
)
def test_each_addition_adds_rates_to_models_that_are_there_and_says_where_they_come_from(added: dict[str, Any]) -> None:
    catalogue = load()
    assert "https://" in added["source"]
    assert len(card_of(msgspec.convert(added["prices"], Prices, strict=False))) == len(added["prices"])
    lists = {**catalogue.supplement.lists, **catalogue.lists} if catalogue.supplement else catalogue.lists
    ids = {model.id for model in lists[added["list"]].models}
    for text in (*added.get("models", ()), *added.get("names", ())):
        assert any(fnmatch(one, text) for one in ids), text
    packaged = msgspec.json.decode(PACKAGED, type=CatalogueFile)
    known = {model.id for one in packaged.providers if one.id == added["list"] for model in one.models}
    assert not known & set(added.get("names", ()))
