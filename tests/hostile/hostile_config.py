"""The gateway of the suite: short patience, one provider, one key."""

from __future__ import annotations

CONFIG = """
[server]
max_body_bytes = 1000000

[server.limits]
head_seconds = 1
body_seconds = 1

[providers.p]
kind = "openai"
base_url = "http://127.0.0.1:{port}"
api_key = "sk-real"

[[keys]]
id = "k"
secret = "{key}"
team = "t"
workflow = "w"
"""
