"""``[ledger.replica]``: every record of the ledger is copied to PostgreSQL, where those of several gateways lie.

The ledger stays the truth. How far a copy has come is what PostgreSQL says, in the transaction that wrote it.
"""
