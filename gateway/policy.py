"""Which providers and models a caller may use, and which calls may be made though nobody can count them."""

from __future__ import annotations

from fnmatch import fnmatchcase

from gateway.identity.principal import Principal
from gateway.routing import Provider, allowed
from gateway.wire.dialect import Refusal
from gateway.wire.facts import Facts, Other
from gateway.wire.paths import plain_path

UNMETERED = "other"
"""The operation of calls that are none that is known."""
_MAKES_NOTHING = frozenset((b"GET", b"HEAD", b"OPTIONS", b"DELETE"))


def forbidden(provider: Provider, principal: Principal, model: str, named: bool = True) -> Refusal | None:
    """Why this caller may not use this provider or model; None: it may. ``named``: one without a name is none that is
    allowed by its name; False: there is no model, or it is named later."""
    if not (provider.models or principal.models or principal.providers):
        return None
    if not allowed(provider.name, principal.providers):
        what = f'provider "{provider.name}"'
    elif (model or named) and not (allowed(model, principal.models) and allowed(model, provider.models)):
        what = f'model "{model[:100]}"' if model else "a model that its request does not name"
    else:
        return None
    return Refusal(
        status=403,
        code="provider_not_allowed" if what.startswith("provider") else "model_not_allowed",
        message=f'The key "{principal.key_id}" of team "{principal.team}" may not use {what}. '
        "Ask your platform team to allow it for this key.",
        model=model,
    )


def others_forbidden(provider: Provider, principal: Principal, others: tuple[Other, ...]) -> Refusal | None:
    """Why this caller may not use one of the other models that its request names."""
    for other in others:
        refusal = forbidden(provider, principal, other.model)
        if refusal is not None:
            return refusal
    return None


def uncounted(provider: Provider, facts: Facts, method: bytes, target: bytes) -> Refusal | None:
    """Why a call that nobody can count may not be made; None: it may, or it is none."""
    if provider.unmetered is None or facts.api != UNMETERED or method in _MAKES_NOTHING:
        return None
    path = plain_path(target)
    if any(fnmatchcase(path, glob) for glob in provider.unmetered):
        return None
    return Refusal(
        status=403,
        code="unmetered_call",
        message=f'Nobody can count what "{method.decode("latin-1")} {path[:100]}" costs, and no such call may go to '
        f'provider "{provider.name}". Ask your platform team to list the path in its unmetered_calls.',
        model=facts.model,
    )
