"""What models are counted with is loaded before the first call: loading holds up all calls for a while."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from gateway.tokens.vocabulary import Vocabularies, encoding_name
from gateway.wire import dialects

MODELS = json.loads((resources.files("pricing.data") / "models.json").read_text())["kinds"]


@pytest.mark.parametrize("kind", sorted(dialects.kinds()))
def test_a_provider_names_the_vocabularies_of_all_its_listed_models(kind: str) -> None:
    named = dialects.get(kind).vocabularies
    listed = {encoding_name(model) for model in MODELS.get(kind, {})} - {None}
    assert listed <= set(named)
    assert len(Vocabularies(named)) == len(named)
