"""The providers' wire formats: bytes in, meaning out. Imports nothing else of the gateway."""
