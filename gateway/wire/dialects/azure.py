"""Azure OpenAI: deployments by path with dated API versions, and the v1 API.

Sources: Azure OpenAI in Foundry Models REST API reference; "API version lifecycle": ``stream_options`` and
``max_completion_tokens`` came with 2024-09-01-preview, older versions refuse them as unknown. The Model Inference API
(``/models``) does not have them and refuses what it does not know (azure-ai-inference, ``ExtraParameters.ERROR``: "This
is the service default").
"""

from __future__ import annotations

import re
from typing import ClassVar

from gateway.wire.dialect import Auth
from gateway.wire.facts import Facts, Other
from gateway.wire.json_read import mentions
from gateway.wire.numbers import text
from gateway.wire.openai_shape import OpenAIShape
from gateway.wire.paths import plain_path, query_value

_DEPLOYMENT = re.compile(r"/openai/deployments/([^/]+)/", re.IGNORECASE)
_has_own_data = mentions(b'"data_sources"')
_FIRST_WITH_OPTIONS = b"2024-09-01"
_WITHOUT_OPTIONS = "/models/chat/completions"


class Azure(OpenAIShape):
    __slots__ = ()

    kind = "azure"
    price_as = "azure"
    auth = Auth(b"api-key", b"")
    vocabularies: ClassVar[tuple[str, ...]] = ("o200k_base", "cl100k_base")
    limit_key = b"max_completion_tokens"
    counts_searches = True
    limits_tools = True
    keeps_answers = True

    def read(self, method: bytes, target: bytes, content_type: bytes, body: bytes) -> Facts:
        facts = super().read(method, target, content_type, body)
        path = plain_path(target)
        match = _DEPLOYMENT.search(path)
        if match is None:
            if path.lower().endswith(_WITHOUT_OPTIONS):
                facts.asks_usage = True
                facts.limited_by = b"max_tokens"
            return facts
        deployment = text(match[1])
        if not facts.model:
            facts.model = deployment
        elif facts.model != deployment:
            # the deployment answers, whatever model the body names
            facts.others += (Other(deployment, instead=True),)
        own_data = _has_own_data(body)
        if own_data:
            facts.input_open = True
        dated = query_value(target, b"api-version") < _FIRST_WITH_OPTIONS
        if own_data or dated:
            facts.asks_usage = True
        if dated:
            facts.limited_by = b"max_tokens"
        return facts


DIALECT = Azure()
