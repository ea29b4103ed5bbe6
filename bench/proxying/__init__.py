"""The gateway beside bare proxies: provider, load, peers, rounds and tables of ``bench/run.py``."""
