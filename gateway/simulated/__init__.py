"""The built-in provider: answers without a network or a key, so that the first call works at once."""
