"""Several processes that take calls on one port, and one that starts them, lends quotas and serves the admin port."""
