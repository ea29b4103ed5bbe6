"""Imported first where processes are forked: what is imported after it is the compiled build, where that is current."""

from gateway.compiled import prefer

prefer()
