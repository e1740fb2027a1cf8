"""Properties are tried without a limit of time: the machine may be busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("files", deadline=None)
settings.load_profile("files")
