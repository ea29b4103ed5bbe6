"""Every mistake in a configuration is told at once: where it stands, what is wrong, what was probably meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from told import KEY, QUOTA, only, problems_of


def test_an_unknown_key_is_told_with_its_line_and_the_near_spelling() -> None:
    problem = only('[server]\nlisten = "127.0.0.1:1"\nmax_body_byte = 5\n')
    assert (problem.key, problem.line, problem.message) == ("server.max_body_byte", 3, "unknown key")
    assert problem.hint == 'Did you mean "max_body_bytes"?'
    assert str(problem) == 'config.toml:3: server.max_body_byte: unknown key. Did you mean "max_body_bytes"?'


def test_an_unknown_table_is_told_with_the_near_spelling() -> None:
    problem = only('[provider.openai]\nkind = "openai"\n')
    assert (problem.key, problem.line, problem.hint) == ("provider", 1, 'Did you mean "providers"?')


def test_an_unknown_key_inside_a_named_table_and_a_list_is_told() -> None:
    found = problems_of(
        """
        [providers.openai]
        kind = "openai"
        base_ur = "https://x.example"
        [[quotas]]
        name = "a"
        usd = 1.0
        window = "day"
        [[quotas]]
        name = "b"
        usd = 1.0
        windw = "day"
        """
    )
    assert [(p.key, p.line, p.hint) for p in found] == [
        ("providers.openai.base_ur", 4, 'Did you mean "base_url"?'),
        ("quotas[1].windw", 12, 'Did you mean "window"?'),
    ]


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    found = problems_of(
        """
        [server]
        listen = 8080
        [providers.openai]
        kind = "opnai"
        api_key = "env:NOT_THERE"
        [[keys]]
        id = "k"
        secret = "sk-12345678"
        team = "t"
        workflow = "w"
        providers = ["anthropic"]
        [[quotas]]
        name = "q"
        usd = -1
        window = "fortnight"
        [[routes]]
        model = "*"
        provider = "opena"
        """
    )
    assert [(p.key, p.line) for p in found] == [
        ("server.listen", 3),
        ("providers.openai.kind", 5),
        ("providers.openai.api_key", 6),
        ("keys[0].providers", 12),
        ("quotas[0].usd", 15),
        ("quotas[0].window", 16),
        ("routes[0].provider", 19),
    ]


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ('[server]\nmax_body_bytes = "5"', "server.max_body_bytes", "must be a whole number"),
        ("[server]\nmax_body_bytes = 1.5", "server.max_body_bytes", "must be a whole number"),
        ("[server]\nmax_body_bytes = true", "server.max_body_bytes", "must be a whole number"),
        ("[server]\nmax_body_bytes = 0", "server.max_body_bytes", "must be above zero"),
        ("[server]\ndrain_seconds = -1", "server.drain_seconds", "must be above 0 and at most 86400 seconds"),
        ("[server]\ndrain_seconds = nan", "server.drain_seconds", "must be a number, like 2.5 (without quotes)"),
        ('[server]\nlisten = "8080"', "server.listen", 'must be "host:port", like "127.0.0.1:8080"'),
        ('[server]\nlisten = "127.0.0.1:99999"', "server.listen", 'must be "host:port", like "127.0.0.1:8080"'),
        ('[attribution]\nrequire_key = "yes"', "attribution.require_key", "must be true or false"),
        ("server = 1", "server", "must be a table"),
        ("keys = 1", "keys", "must be a list of tables"),
        ('[on_disconnect]\npolicy = "dran"', "on_disconnect.policy", 'must be "drain" or "cancel"'),
        (QUOTA + 'usd = "5"\nwindow="day"', "quotas[0].usd", "must be a number, like 2.5 (without quotes)"),
        (QUOTA + 'usd = -0.5\nwindow="day"', "quotas[0].usd", "must not be below zero"),
        (QUOTA + 'usd = 1e30\nwindow="day"', "quotas[0].usd", "must be at most 1000000000 dollars"),
        (QUOTA + 'requests = -5\nwindow="day"', "quotas[0].requests", "must not be below zero"),
        (QUOTA + "usd = 5", "quotas[0]", 'a quota over time needs a window, like window = "month"'),
        (QUOTA + 'window="day"', "quotas[0]", "a quota needs a limit"),
        (QUOTA + 'usd = 1\nwindow = "rolling 0h"', "quotas[0].window", "a rolling window is between 1 minute"),
        (QUOTA + 'usd = 1\nwindow = "monthly"', "quotas[0].window", "must be one of minute, hour, day"),
        (QUOTA + 'usd=1\nwindow="day"\ntimezone="Europe/Berlim"', "quotas[0].timezone", "is no IANA timezone"),
        (QUOTA + 'usd=1\nwindow="day"\nmatch={team="a["}', "quotas[0].match.team", "is no pattern"),
        (QUOTA + 'usd=1\nwindow="day"\nmatch={tean="a"}', "quotas[0].match.tean", "must be one of team, workflow"),
        (QUOTA + 'usd=1\nwindow="day"\nper=["tag."]', "quotas[0].per[0]", "names a tag that can't be"),
        (QUOTA + 'usd=1\nwindow="day"\nmatch={"tag.Env"="x"}', "quotas[0].match.tag.Env", "names a tag that can't be"),
        (QUOTA + 'usd=1\nwindow="day"\nwarn_at=[80]', "quotas[0].warn_at[0]", "must be a share of the limit"),
        (
            QUOTA + 'usd=1\nwindow="day"\naction="warn"\nclamp=true',
            "quotas[0].clamp",
            "no effect on a rule that only warns",
        ),
        (
            QUOTA + 'requests=1\nwindow="day"\nclamp=true',
            "quotas[0].clamp",
            "needs a limit on output_tokens, tokens, usd",
        ),
        (QUOTA + 'usd=1\nwindow="day"\nqueue_seconds=3', "quotas[0].queue_seconds", "can only wait for concurrent"),
        (QUOTA + 'requests=1\nwindow="day"\nunbounded="refuse"', "quotas[0].unbounded", "has no limit on input_tokens"),
        (QUOTA + 'usd=1\nwindow="day"\nper=["team","team"]', "quotas[0].per", "names a dimension twice"),
        (
            QUOTA + 'usd=1\nwindow="day"\noverrides=[{tokens=5, until=2026-12-01}]',
            "quotas[0].overrides[0].tokens",
            "raises a limit that the quota does not have",
        ),
        (
            QUOTA + 'usd=1\nwindow="day"\noverrides=[{usd=5, until="2026-12-01"}]',
            "quotas[0].overrides[0].until",
            "must be a date or a time",
        ),
        ('[ledger]\nurl = "mysql://x"', "ledger.url", "must be sqlite:/// and a path"),
        (
            '[server]\nlisten = "127.0.0.1:80"\nadmin_listen = "127.0.0.1:80"',
            "server.admin_listen",
            "is the data plane's address too",
        ),
        ('[server]\nadmin_listen = "0.0.0.0:8081"', "server.admin_listen", "reachable from other machines"),
        ('[providers.v1]\nkind = "openai"', "providers.v1", "is a path of the gateway itself"),
        ('[providers."a b"]\nkind = "openai"', "providers.a b", "must be 1 to 63 letters"),
        ('[providers.x]\nkind = "openai"\nbase_url = "api.x"', "providers.x.base_url", "must begin with http"),
        ('[providers.x]\nkind="openai"\nbase_url="https://u:p@x"', "providers.x.base_url", "must hold no user"),
        ('[providers.x]\nkind = "openai"\nproxy = "socks5://h"', "providers.x.proxy", "must begin with http"),
        ("[providers.x]", "providers.x.kind", "is missing"),
        (
            '[providers.x]\nkind="openai"\nunpriced_models="alow"',
            "providers.x.unpriced_models",
            'must be "allow" or "block"',
        ),
        (
            '[providers.x]\nkind="openai"\nunpriced_models={price_s="x"}',
            "providers.x.unpriced_models.price_as",
            "is missing",
        ),
        (
            '[providers.x]\nkind="openai"\napi_key="k"\n[providers.x.google]\n',
            "providers.x.google",
            "is a second credential beside api_key",
        ),
        (
            '[[prices]]\nprovider="opnai"\nmodel="m"\ninput_per_mtok=1',
            "prices[0].provider",
            "no provider has the price list",
        ),
        ('[[prices]]\nprovider="openai"\nmodel="m"', "prices[0]", "sets no price"),
        (
            '[[prices]]\nprovider="openai"\nmodel="m"\nfrom="2026-01-01"\ninput_per_mtok=1',
            "prices[0].from",
            "must be a date or a time",
        ),
        (
            '[[prices]]\nprovider="openai"\nmodel="m"\nfrom=2026-02-01\nuntil=2026-01-01\ninput_per_mtok=1',
            "prices[0]",
            "is not after from",
        ),
        ('[[models]]\nprovider="openai"\nmodel="m"', "models[0]", "sets nothing"),
        (
            '[[models]]\nprovider="opnai"\nmodel="m"\nmax_output=5',
            "models[0].provider",
            "no provider has the price list",
        ),
        ('[providers.x]\nkind="openai"\napi_key=""', "providers.x.api_key", "is empty: leave it out"),
        ('[providers.x]\nkind="openai"\napi_key="sk-a\\r\\nb"', "providers.x.api_key", "must be one line of printable"),
        ('[providers.x]\nkind="openai"\napi_key="sk-a "', "providers.x.api_key", "without a blank at either end"),
        ('[server]\nadmin_token=""', "server.admin_token", "is empty: leave it out"),
        (KEY.format(id="a", secret='secret = "sk-1234\\u00005678"'), "keys[0].secret", "must be one line of printable"),
        ("[server]\nworkers = 100000", "server.workers", "must be at most 256"),
        ("[tracing]\nsample = 2.0", "tracing.sample", "must be at most 1"),
        ('[ledger]\nurl = "sqlite:///:memory:"', "ledger.url", "a ledger in memory would be lost"),
        ('[[shared_costs]]\nname="a"\nusd=1\npercent=1', "shared_costs[0]", "needs exactly one of usd"),
        (
            '[server.oidc]\nissuer="https://x"\nclient_id="a"\nredirect_url="https://x/ui/oidc/callback"\nroles=[]',
            "server.oidc.roles",
            "must not be empty",
        ),
        ('[[webhooks]]\nurl="ftp://x"', "webhooks[0].url", "must begin with http"),
        ('[[webhooks]]\nurl="http://x"\nevents=["exhaust"]', "webhooks[0].events", 'unknown event "exhaust"'),
    ],
)
def test_a_wrong_value_is_told_by_key(text: str, key: str, message: str) -> None:
    found = [problem for problem in problems_of(text) if problem.key == key]
    assert len(found) == 1, [str(problem) for problem in problems_of(text)]
    assert message in found[0].message
    assert found[0].line is not None


def test_bad_toml_is_told_with_its_line() -> None:
    problem = only('[server]\nlisten = "x\n')
    assert problem.line == 2
    assert problem.message.startswith("not valid TOML: ")
    assert only("[server]\na = 1\na = 2\n").line == 3
    assert only("[server\n").line == 1
    assert only('x = """abc\n').line == 2


@pytest.mark.parametrize(
    ("text", "key", "told"),
    [
        (
            '[keys]\nid = "a"\nteam = "t"\nworkflow = "w"\n',
            "keys",
            "must be a list of tables. Write [[keys]] in two pairs of brackets, once for each.",
        ),
        (
            QUOTA + "usd = 1.0\nwindow = 'day'\n[quotas.overrides]\nusd = 1.0\n",
            "quotas[0].overrides",
            "must be a list of tables. Write [[quotas.overrides]] in two pairs of brackets, once for each.",
        ),
        ('[[server]]\nlisten = "127.0.0.1:1"\n', "server", "must be a table. Write [server] in one pair of brackets."),
        (
            '[[providers]]\nkind = "openai"\n',
            "providers",
            "must be a table. Write [providers.NAME] in one pair of brackets.",
        ),
        (
            QUOTA + "usd = 1.0\nwindow = 'day'\nwarn_at = 0.8\n",
            "quotas[0].warn_at",
            "must be a list, like [0.8].",
        ),
        (QUOTA + "usd = 1.0\nwindow = 'day'\nper = 'team'\n", "quotas[0].per", 'must be a list, like ["a", "b"].'),
        (KEY.format(id="a", secret='secret = "sk"'), "keys[0].secret", "must have at least 8 characters."),
    ],
)
def test_brackets_lists_and_lengths_are_told_as_they_should_be(text: str, key: str, told: str) -> None:
    problem = only(text)
    assert problem.key == key
    assert str(problem).endswith(f": {key}: {told}")


@given(secret=st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=40))
def test_no_problem_ever_shows_a_secret(secret: str) -> None:
    secret = f"s3cr3t~{secret}"
    environ = {"S": secret, "T": secret}
    text = """
    [server]
    admin_token = "env:S"
    listen = "x"
    [providers.a]
    kind = "opena"
    api_key = "env:S"
    bad = 1
    [providers.a.aws]
    region = 5
    secret_access_key = "env:S"
    [[keys]]
    id = "a"
    secret = "env:S"
    hash = "env:S"
    team = "t"
    workflow = "w"
    [[keys]]
    id = "b"
    secret = "env:T"
    team = "t"
    workflow = "w"
    expires = "env:S"
    """
    for problem in problems_of(text, environ):
        assert secret not in str(problem)
