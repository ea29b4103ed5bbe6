"""Imported where processes are forked: what each of them would read anew at its start, though all find the same in it,
is read once for all. Gateways that are started fresh read it themselves."""

from __future__ import annotations

import functools

from gateway.tokens import vocabulary

# a fork shares what is read already
vocabulary._load = functools.cache(vocabulary._load)
for name in (vocabulary.O200K, vocabulary.CL100K):
    vocabulary._load(name)
