"""Text that UTF-8 cannot hold, made into text that it can."""

from __future__ import annotations


def escape(text: str) -> str:
    r"""Text with lone surrogates written as ``\\udc80``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
