"""What goes together in a configuration: two entries that are one, one that refers to none, one without effect."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from told import KEY, PROVIDER, QUOTA, only

from gateway.config.check_quotas import name_remarks, quota_remarks
from gateway.config.load import parse


def test_two_keys_may_not_share_an_id_or_a_secret() -> None:
    one = KEY.format(id="a", secret='secret = "sk-12345678"')
    assert only(one + KEY.format(id="a", secret='secret = "sk-87654321"')).key == "keys[1].id"
    same = only(one + KEY.format(id="b", secret='secret = "sk-12345678"'))
    assert (same.key, same.message) == ("keys[1].secret", 'is the secret of key "a" too')
    hashed = "sha256:" + hashlib.sha256(b"sk-12345678").hexdigest()
    assert only(one + KEY.format(id="b", secret=f'hash = "{hashed}"')).key == "keys[1].hash"


def test_a_key_needs_exactly_one_of_secret_and_hash() -> None:
    assert only(KEY.format(id="a", secret="")).message == "needs either secret or hash"
    assert "sha256" in only(KEY.format(id="a", secret='hash = "md5:0"')).message


def test_a_virtual_key_may_not_be_a_providers_own_key() -> None:
    text = PROVIDER + 'api_key = "sk-12345678"\n' + KEY.format(id="a", secret='secret = "sk-12345678"')
    problem = only(text)
    assert problem.key == "keys[0].secret"
    assert "sk-12345678" not in str(problem)


@pytest.mark.parametrize(
    ("rest", "key", "message"),
    [
        ('old_secret = "sk-old-1234"', "keys[0].old_secret", "needs old_expires: when the old secret ends"),
        ("old_expires = 2027-01-01", "keys[0].old_expires", "ends an old secret that is not there"),
        (
            f'old_secret = "sk-old-1234"\nold_hash = "sha256:{"0" * 64}"\nold_expires = 2027-01-01',
            "keys[0].old_hash",
            "is a second old secret beside old_secret",
        ),
        ('old_secret = "sk-new-1234"\nold_expires = 2027-01-01', "keys[0].secret", 'is the secret of key "a" too'),
    ],
)
def test_an_old_secret_that_can_not_be_is_told(rest: str, key: str, message: str) -> None:
    problem = only(KEY.format(id="a", secret='secret = "sk-new-1234"') + rest)
    assert (problem.key, problem.message) == (key, message)


def test_two_quotas_may_not_share_a_name() -> None:
    quota = '[[quotas]]\nname = "q"\nusd = 1.0\nwindow = "{}"\n'
    assert only(quota.format("day") + quota.format("month")).key == "quotas[1].name"


def test_a_reference_to_no_provider_has_the_near_spelling() -> None:
    text = PROVIDER + QUOTA + 'usd = 1.0\nwindow = "day"\nmatch = { provider = "openia" }\n'
    problem = only(text)
    assert (problem.key, problem.hint) == ("quotas[0].match.provider", 'Did you mean "openai"?')


def test_a_rule_for_a_team_or_key_that_is_misspelt_is_remarked() -> None:
    keys = "".join(KEY.format(id=name, secret=f'secret = "sk-{name}-1234"') for name in ("search-prod", "chat-prod"))
    matches = (
        'key = "serch-prod"',
        'key = ["search-*", "chat-prd"]',
        'key = "key_3f8a5c0d9e21"',
        'team = "t*"',
        'team = "tt"',
    )
    quotas = "".join(
        f'[[quotas]]\nname = "q{number}"\nmatch = {{ {match} }}\nusd = 1.0\nwindow = "day"\n'
        for number, match in enumerate(matches)
    )
    config = parse(keys + quotas, "c", {}, Path("."))
    assert list(name_remarks(config.quotas, config.keys)) == [
        'quotas[0].match.key: no key of this file has the id "serch-prod". Did you mean "search-prod"?',
        'quotas[1].match.key: no key of this file has the id "chat-prd". Did you mean "chat-prod"?',
        'quotas[4].match.team: no key of this file has the team "tt". Did you mean "t"?',
    ]


def test_a_model_that_is_bounded_by_its_providers_own_name_is_told_the_price_list() -> None:
    problem = only(
        PROVIDER.replace("openai]", "house]") + '[[models]]\nprovider = "house"\nmodel = "m"\nmax_output = 5\n'
    )
    assert problem.hint == 'The price list of that provider is "openai".'


def test_a_quota_that_never_refuses_because_a_stricter_one_has_its_scope_is_remarked() -> None:
    quota = '[[quotas]]\nname = "{}"\nmatch = {{ team = "a" }}\nusd = {}\nwindow = "day"\n'
    for first, second, silent in ((5, 9, "quotas[1]"), (9, 5, "quotas[0]")):
        config = parse(quota.format("x", first) + quota.format("y", second), "c", {}, Path("."))
        remarks = list(quota_remarks(config.quotas))
        assert len(remarks) == 1
        assert remarks[0].startswith(f"{silent} never refuses a call")


def test_a_route_behind_a_wider_one_is_told() -> None:
    route = '[[routes]]\nmodel = "{}"\nprovider = "openai"\n'
    problem = only(PROVIDER + route.format("gpt-*") + route.format("gpt-4o"))
    assert (problem.key, problem.message) == ("routes[1].model", 'is never reached: "gpt-*" stands before it')


def test_a_price_that_an_earlier_one_covers_is_told() -> None:
    price = '[[prices]]\nprovider = "openai"\nmodel = "m"\ninput_per_mtok = {}\n'
    assert only(PROVIDER + price.format(1) + price.format(2)).key == "prices[1]"
    parse(PROVIDER + price.format(1) + "from = 2026-01-01\n" + price.format(2), "c", {}, Path("."))
