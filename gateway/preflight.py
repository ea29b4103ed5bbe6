"""A browser's question whether a page may call a provider (CORS): it is the provider's to answer.

The question never carries a key, so nobody is identified by it and nothing is charged for it: it goes to the provider
without any credential, with nothing in it but what a browser asks, and leaves no record. So that strangers can't use
that, a provider is asked few of them at once, each address asks few a minute, and an answer that still holds is given
again. Where the path names no provider, any page may try: what the call itself gets, it can then read.
"""

from __future__ import annotations

from gateway import answers
from gateway.identity.found import find_key
from gateway.parts import Parts
from gateway.ports import ClientPort, Failure, Header, RequestHead, Timer, UpstreamPort
from gateway.routing import Provider
from gateway.wire.cors import ALLOWED, answer_of, question_of
from gateway.wire.dialect import Reply
from gateway.wire.http_heads import REASONS, fields_of, request_head_bytes

MAX_AT_ONCE = 16
"""A provider is asked so many questions at once."""
MAX_BODY_BYTES = 65_536
WAIT_SECONDS = 10.0


class Preflight:
    """Implements ``gateway.ports.Exchange`` for one question."""

    wants_body = False

    def __init__(self, parts: Parts, client: ClientPort, head: RequestHead) -> None:
        found = find_key(head.headers, head.target)
        self._parts = parts
        self._client = client
        self._peer = head.peer
        self._question = question_of(found.headers)
        provider, self._target = parts.router.split(found.target)
        if provider is None and parts.router.is_routed(self._target):
            provider = parts.router.by_model("")[0]
        self._provider: Provider | None = provider
        self._key = self._question.key(self._target)
        self._upstream: UpstreamPort | None = None
        self._timer: Timer | None = None
        self._status = 0
        self._reason = b""
        self._headers: list[Header] = []
        self._body = b""

    def start(self) -> None:
        """Answer, or ask the provider."""
        provider, tell = self._provider, self._parts.observer.preflight
        if provider is None:
            tell("", "unnamed")
            self._reply(ALLOWED)
            return
        known = provider.preflights.find(self._key, self._parts.clock.monotonic())
        if known is not None:
            tell(provider.name, "remembered")
            self._reply(answer_of(self._question, known))
        elif provider.preflights.asking >= MAX_AT_ONCE or self._parts.guard.asked(self._peer):
            tell(provider.name, "refused")
            text = "Too many pages ask at once whether they may call. Try again in a moment."
            self._reply(answers.failure(503, "too_many_preflights", text, None))
        else:
            tell(provider.name, "asked")
            self._ask(provider)

    def _ask(self, provider: Provider) -> None:
        endpoint, target = provider.endpoint, provider.base_path + self._target
        head = request_head_bytes(b"OPTIONS", target, self._question.headers, endpoint.host_header, 0)
        provider.preflights.asking += 1
        self._timer = self._parts.clock.after(WAIT_SECONDS, self._late)
        self._upstream = provider.upstreams.send(endpoint, head, b"", b"OPTIONS", self)

    def _over(self) -> UpstreamPort | None:
        """The provider is asked no more; its side of the call, if it was."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            assert self._provider is not None
            assert self._timer is not None
            self._provider.preflights.asking -= 1
            self._timer.cancel()
        return upstream

    def _reply(self, reply: Reply, reason: bytes | None = None) -> None:
        reason = REASONS.get(reply.status, b"") if reason is None else reason
        self._client.reply(reply.status, reason, reply.headers, reply.body)

    def _failed(self, failure: str, detail: str) -> None:
        provider = self._provider
        assert provider is not None
        self._parts.observer.failed("", provider.name, failure, detail)
        self._reply(answers.upstream_failure(provider.name, failure, None))

    def _late(self) -> None:
        self._give_up("head_timeout", f"no answer to a preflight in {WAIT_SECONDS:.0f} s")

    def _give_up(self, failure: str, detail: str) -> None:
        upstream = self._over()
        if upstream is not None:
            upstream.abort()
            self._failed(failure, detail)

    # the provider

    def upstream_interim(self, status: int, reason: bytes, headers: list[Header]) -> None:
        return

    def upstream_head(self, status: int, reason: bytes, headers: list[Header]) -> None:
        self._status, self._reason, self._headers = status, reason, list(fields_of(headers).onward)

    def upstream_switched(self, status: int, reason: bytes, headers: list[Header]) -> None:
        raise AssertionError("only a session asks to switch protocols")

    def upstream_paused(self) -> None:
        raise AssertionError("only a session asks to switch protocols")

    def upstream_resumed(self) -> None:
        raise AssertionError("only a session asks to switch protocols")

    def upstream_data(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > MAX_BODY_BYTES:
            self._give_up("protocol", "the answer to a preflight has no end")

    def upstream_end(self, trailers: list[Header]) -> None:
        if self._over() is None:
            return
        assert self._provider is not None
        reply = Reply(self._status, self._headers, self._body)
        self._provider.preflights.keep(self._key, reply, self._parts.clock.monotonic())
        self._reply(answer_of(self._question, reply), self._reason)

    def upstream_failed(self, failure: Failure, detail: str) -> None:
        if self._over() is not None:
            self._failed(failure, detail)

    # the client

    def client_gone(self) -> None:
        upstream = self._over()
        if upstream is not None:
            upstream.abort()

    def request_head(self, head: RequestHead) -> None:
        return

    def request_body(self, body: bytes) -> None:
        return

    def request_too_large(self) -> None:
        return

    def client_data(self, data: bytes) -> None:
        return

    def client_paused(self) -> None:
        return

    def client_resumed(self) -> None:
        return

    def going_away(self) -> None:
        return
