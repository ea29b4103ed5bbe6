"""What trusted headers may say beyond the key: the workflow and tags, never the team."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.config.values import tag_name
from gateway.identity.principal import Principal

MAX_TAGS = 16
MAX_LENGTH = 128

Tags = tuple[tuple[str, str], ...]


def refine(principal: Principal, attribution: Sequence[tuple[str, str]]) -> tuple[str, Tags]:
    """Workflow and tags of a call. What is empty, too long, too many or not printable changes nothing."""
    workflow = principal.workflow
    tags = dict(principal.tags)
    for name, value in attribution:
        text = clean(value)
        if not text:
            continue
        if name == "workflow":
            workflow = text
        elif (tag := name[4:]) in tags or (len(tags) < MAX_TAGS and is_tag(tag)):
            tags[tag] = text
    return workflow, tuple(sorted(tags.items()))


def clean(value: str) -> str:
    """A label without blanks around it; empty where it is too long or holds control characters."""
    text = value.strip()
    return text if len(text) <= MAX_LENGTH and text.isprintable() else ""


def is_tag(name: str) -> bool:
    """Whether a tag may have this name: the rule of the configuration."""
    try:
        tag_name(name)
    except ValueError:
        return False
    return True
