"""Custos from Python: `connect` opens a home's features to whoever holds a bearer token."""

from mlproject.connection import Connection, Features, connect

__all__ = ["Connection", "Features", "connect"]
