"""The fixture of the doors: a service at work."""

from tests.audit.serving import service

__all__ = ["service"]
