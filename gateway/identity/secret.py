"""Secrets of virtual keys: how they are made, and the hash that is all that is kept of them."""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "sk-sg-"
"""Begins every secret that is made here, so that one in a log or a repository is known for what it is."""


def new_secret() -> str:
    """A new secret: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is kept of a secret. It is random and long, so one round of SHA-256 can't be undone by guessing."""
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()
