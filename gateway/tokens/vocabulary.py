"""OpenAI's tokenizers from the package's own data: nothing is fetched.

Loading takes a third of a second and some tens of megabytes, and half of that time no other thread runs. So what models
of the configured providers have is loaded before the first call; all else when first needed, away from the event loop.
"""

from __future__ import annotations

import binascii
import gzip
import hashlib
import json
import threading
from collections.abc import Iterable
from importlib import resources
from typing import Any

import tiktoken

O200K = "o200k_base"
CL100K = "cl100k_base"
_CL100K_MODELS = ("gpt-4-", "gpt-3.5", "gpt-35", "text-embedding-3", "text-embedding-ada")
_O200K_MODELS = (
    "gpt-4o",
    "gpt-4.1",
    "gpt-4.5",
    "gpt-5",
    "gpt-6",
    "o1",
    "o3",
    "o4",
    "chatgpt-4o",
    "gpt-oss",
    "gpt-audio",
    "gpt-realtime",
)
PIECE_CHARS = 4000
"""Text is counted in pieces, so that no run without a break takes long."""


def encoding_name(model: str) -> str | None:
    """The vocabulary of a model, by its name's beginning; None where it is not known.

    Sources: tiktoken's own table of models; openai/gpt-oss for the open weights.
    """
    name = model.rpartition("/")[2].lower().removeprefix("ft:")
    if name == "gpt-4" or name.startswith(_CL100K_MODELS):
        return CL100K
    if name.startswith(_O200K_MODELS):
        return O200K
    return None


class VocabularyDamaged(Exception):  # noqa: N818 - said in one line to a person
    """The package's own data is not what it was."""


class Vocabularies:
    """Encodings, loaded once each, some of them ``first``. Safe for use from any thread."""

    def __init__(self, first: Iterable[str] = ()) -> None:
        """Raises ``VocabularyDamaged``."""
        self._loaded = {name: _load(name) for name in sorted(set(first))}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._loaded)

    def count(self, name: str, text: str) -> int:
        """Tokens of a text; special tokens in it count as the plain text they are."""
        encoding = self._get(name)
        return sum(
            len(encoding.encode_ordinary(text[start : start + PIECE_CHARS]))
            for start in range(0, len(text), PIECE_CHARS)
        )

    def _get(self, name: str) -> tiktoken.Encoding:
        with self._lock:
            found = self._loaded.get(name)
            if found is None:
                found = self._loaded[name] = _load(name)
            return found


def _load(name: str) -> tiktoken.Encoding:
    data = resources.files("gateway.tokens") / "data"
    about: dict[str, Any] = json.loads((data / "encodings.json").read_text())[name]
    raw = gzip.decompress((data / f"{name}.tiktoken.gz").read_bytes())
    if hashlib.sha256(raw).hexdigest() != about["sha256"]:
        raise VocabularyDamaged(f"the vocabulary {name} in this installation is damaged: install spendgate again")
    words = raw.split()
    ranks = dict(zip(map(binascii.a2b_base64, words[::2]), map(int, words[1::2]), strict=True))
    return tiktoken.Encoding(
        name, pat_str=about["pat_str"], mergeable_ranks=ranks, special_tokens=about["special_tokens"]
    )
