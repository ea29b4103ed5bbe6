"""The configuration as typed tables: every key, its type, its default and what it means.

``docs/configuration.md`` describes the same keys; a test fails when one of them is missing there.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from gateway.config.exports import ExportConfig
from gateway.config.oidc import OidcConfig
from gateway.config.prices import PriceConfig, PriceTier
from gateway.config.quotas import QuotaConfig
from gateway.config.shared import SharedCostConfig
from gateway.config.values import (
    Address,
    BaseUrl,
    Count,
    Expiry,
    Glob,
    Label,
    Name,
    Number,
    Policy,
    Positive,
    PostgresUrl,
    Proxy,
    Seconds,
    Sent,
    SqlName,
    Table,
    TagName,
    Unmetered,
    Url,
    Workers,
)

__all__ = ["ExportConfig", "OidcConfig", "PriceConfig", "PriceTier", "QuotaConfig", "SharedCostConfig"]


class TlsConfig(Table):
    """Certificates of a listening port."""

    cert: str
    key: str
    client_ca: str | None = None
    """With it, clients must show a certificate of this authority."""


class LimitsConfig(Table):
    """What one client may ask of the data plane."""

    head_bytes: Positive = 65_536
    headers: Positive = 200
    head_seconds: Seconds = 30
    body_seconds: Seconds = 60
    idle_seconds: Seconds = 75
    connections: Positive = 20_000
    connections_per_peer: Positive = 10_000
    calls_per_second_per_peer: Count = 0
    """0: no bound."""
    unknown_keys_per_minute_per_peer: Count = 600
    """Past it an address waits, whatever key it sends. 0: no bound."""


class AdminTokenConfig(Table):
    """A further token for the admin port, with a role, and for one team where it names one."""

    name: Name
    secret: Sent = Field(min_length=16)
    role: Literal["read", "operate"] = "read"
    team: Label | None = None
    """With it, the token reads what concerns this team, and nothing else."""

    @model_validator(mode="after")
    def _teams_only_read(self) -> Self:
        if self.team is not None and self.role != "read":
            raise ValueError("a token of one team has role read")
        return self


class ServerConfig(Table):
    listen: Address = "127.0.0.1:8080"
    admin_listen: Address = "127.0.0.1:8081"
    admin_token: Sent | None = None
    admin_tokens: tuple[AdminTokenConfig, ...] = ()
    oidc: OidcConfig | None = None
    data_dir: str = "data"
    max_body_bytes: Positive = 33_554_432
    drain_seconds: Seconds = 30
    workers: Workers = 1
    tls: TlsConfig | None = None
    admin_tls: TlsConfig | None = None
    limits: LimitsConfig = LimitsConfig()


class ReplicaConfig(Table):
    """Where all records are copied to, beside the calls."""

    url: PostgresUrl
    schema_: SqlName = Field(default="spendgate", alias="schema")


class LedgerConfig(Table):
    url: str = "sqlite:///data/ledger.db"
    """Default: ``ledger.db`` in ``server.data_dir``."""
    keep_days: Positive | None = None
    """Records older than this are deleted; rollups stay. None: all are kept."""
    queue_rows: Positive = 20_000
    prompt_hash: bool = True
    """Whether records tell, by a keyed hash, that two calls had the same prompt."""
    replica: ReplicaConfig | None = None


class QuotaStoreConfig(Table):
    """Where several gateways share quotas."""

    url: Sent
    """``postgresql://…`` or ``redis://…``; ``rediss://`` and ``unix://`` are Redis too."""


class AttributionConfig(Table):
    require_key: bool = True
    trusted_headers: bool = True


class AwsConfig(Table):
    """The gateway's own AWS credentials; what is absent comes from the standard chain."""

    region: str
    access_key_id: Sent | None = None
    secret_access_key: Sent | None = None
    session_token: Sent | None = None
    profile: str | None = None


class GoogleConfig(Table):
    """The gateway's own Google credentials; without a file, application default credentials."""

    service_account_file: str | None = None


class AzureConfig(Table):
    """An Entra application that may call the Azure OpenAI resource."""

    tenant_id: str
    client_id: str
    client_secret: str
    authority: str = "https://login.microsoftonline.com"


class PriceAs(Table):
    """Models without a price are charged as this one."""

    price_as: str


class ProviderConfig(Table):
    kind: str
    base_url: BaseUrl | None = None
    api_key: Sent | None = None
    price_as: str | None = None
    project: str | None = None
    """The provider's own project or workspace that ``api_key`` belongs to; reconciliation compares by it."""
    optional: bool = False
    """True: the provider is left out, instead of an error, while its ``env:`` key is not set."""
    models: tuple[Glob, ...] = ()
    unpriced_models: Policy | PriceAs = "allow"
    unmetered_calls: Unmetered = None
    """Paths of calls that nobody can count and that may be made all the same; None: all may."""
    usage_unasked: bool = False
    """True: streams report their usage unasked, so nothing is asked for and nothing taken out."""
    connect_seconds: Seconds = 10
    head_seconds: Seconds = 600
    idle_seconds: Seconds = 300
    max_connections: Count = 0
    breaker_failures: Count = 5
    breaker_seconds: Seconds = 5
    proxy: Proxy | None = None
    ca_file: str | None = None
    aws: AwsConfig | None = None
    google: GoogleConfig | None = None
    azure: AzureConfig | None = None
    first_token_seconds: Number = 0.25
    """Kind ``simulated``: the wait before an answer begins."""
    token_seconds: Number = 0.02
    """Kind ``simulated``: the wait between two words."""


class KeyConfig(Table):
    id: Name
    secret: Sent | None = Field(default=None, min_length=8)
    hash: str | None = Field(default=None, pattern=r"^sha256:[0-9a-f]{64}$")
    team: Label
    workflow: Label
    tags: dict[TagName, Label] = {}
    models: tuple[Glob, ...] = ()
    providers: tuple[Glob, ...] = ()
    expires: Expiry | None = None
    """First moment at which the key is refused."""
    old_secret: Sent | None = Field(default=None, min_length=8)
    old_hash: str | None = Field(default=None, pattern=r"^sha256:[0-9a-f]{64}$")
    old_expires: Expiry | None = None
    """First moment at which the secret before this one is refused."""


class RouteConfig(Table):
    """Where ``/v1/…`` calls of a model go."""

    model: Glob
    provider: str
    rename: str | None = None


class OnDisconnectConfig(Table):
    policy: Literal["drain", "cancel"] = "drain"
    max_seconds: Seconds = 120
    max_bytes: Positive = 16_777_216


class ModelConfig(Table):
    """What a model can take and give, where the built-in table does not know it."""

    provider: str
    model: Glob
    context_window: Positive | None = None
    max_output: Positive | None = None


class WebhookConfig(Table):
    url: Url
    secret: str | None = None
    format: Literal["json", "slack"] = "json"
    events: tuple[str, ...] = ()


class MetricsConfig(Table):
    max_series: Positive = 10_000


class LoggingConfig(Table):
    format: Literal["human", "json"] = "human"
    level: Literal["debug", "info", "warning", "error"] = "info"


class TracingConfig(Table):
    """Traces of calls, sent to an OpenTelemetry collector. Off without ``otlp_endpoint``."""

    otlp_endpoint: Url | None = None
    headers: dict[str, Sent] = {}
    sample: float = Field(default=1.0, ge=0.0, le=1.0)
    service_name: str = "spendgate"


class Config(Table):
    server: ServerConfig = ServerConfig()
    ledger: LedgerConfig = LedgerConfig()
    attribution: AttributionConfig = AttributionConfig()
    providers: dict[Name, ProviderConfig] = {}
    keys: tuple[KeyConfig, ...] = ()
    quotas: tuple[QuotaConfig, ...] = ()
    quota_store: QuotaStoreConfig | None = None
    max_quota_counters: Positive = 100_000
    """Counters that ``per`` may make in all; past it a rule's ``overflow`` says what happens."""
    prices: tuple[PriceConfig, ...] = ()
    models: tuple[ModelConfig, ...] = ()
    routes: tuple[RouteConfig, ...] = ()
    shared_costs: tuple[SharedCostConfig, ...] = ()
    exports: tuple[ExportConfig, ...] = ()
    on_disconnect: OnDisconnectConfig = OnDisconnectConfig()
    webhooks: tuple[WebhookConfig, ...] = ()
    metrics: MetricsConfig = MetricsConfig()
    logging: LoggingConfig = LoggingConfig()
    tracing: TracingConfig = TracingConfig()

    @model_validator(mode="before")
    @classmethod
    def _ledger_in_data_dir(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        server, ledger = data.get("server", {}), data.get("ledger", {})
        folder = server.get("data_dir") if isinstance(server, dict) else None
        if isinstance(folder, str) and isinstance(ledger, dict) and "url" not in ledger:
            return {**data, "ledger": {"url": f"sqlite:///{folder}/ledger.db", **ledger}}
        return data
