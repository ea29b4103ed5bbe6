"""Real parts for tests: an upstream on loopback, a gateway process, the recorded exchanges."""
