"""Puts OpenAI's vocabularies into the package, so that nothing is fetched at run time. Run by a developer:

    python gateway/tokens/data/build.py PATH_OF_A_BPE_OPENAI_WHEEL

The ranks come from the wheel of ``bpe-openai`` (MIT); patterns and special tokens from ``tiktoken`` (MIT), which also
publishes the checksums that are checked here.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
NAMES = ("o200k_base", "cl100k_base")
URL = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"


def main(wheel: str) -> None:
    encodings = {}
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as cache:
        os.environ["TIKTOKEN_CACHE_DIR"] = cache
        for name in NAMES:
            raw = gzip.decompress(archive.read(f"bpe_openai/data/{name}.tiktoken.gz"))
            (Path(cache) / hashlib.sha1(URL.format(name).encode()).hexdigest()).write_bytes(raw)  # noqa: S324 - tiktoken's name
            (HERE / f"{name}.tiktoken.gz").write_bytes(gzip.compress(raw, 9, mtime=0))
            from tiktoken_ext import openai_public

            made = getattr(openai_public, name)()  # reads the file from the cache and checks its published sum
            encodings[name] = {
                "sha256": hashlib.sha256(raw).hexdigest(),
                "pat_str": made["pat_str"],
                "special_tokens": made["special_tokens"],
            }
    (HERE / "encodings.json").write_text(json.dumps(encodings, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
