"""Which providers and models a caller may use."""

from __future__ import annotations

from gateway.identity.principal import Principal
from gateway.routing import Provider, allowed
from gateway.wire.dialect import Refusal
from gateway.wire.facts import Other


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
