"""Metrics of a framework as ``log()`` takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLAIN = frozenset({float, int, bool})
_MOST_ELEMENTS = 64
LONGEST_TEXT = 200
"""A longer text is no label of a point: it goes into ``logs.txt``."""


def flat(metrics: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Metrics with texts for names; one with several elements becomes one metric for each: ``acc/0``, ``acc/1``.

    Values are handed over as they are, so one on a device is not waited for. ``log()`` itself flattens nested mappings.

    Args:
        metrics: by name.
        prefix: stands before every name.
    """
    if not prefix and type(metrics) is dict and _PLAIN.issuperset(map(type, metrics.values())):
        return metrics
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        found.update(_parts(f"{prefix}{name}", value))
    return found


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    count = 1 if type(value) in _PLAIN else _elements(value)
    if not 1 < count <= _MOST_ELEMENTS:
        yield name, value
        return
    for index in range(count):
        yield f"{name}/{index}", value[index]


def _elements(value: Any) -> int:
    """How many elements an array of one dimension has; 1 for everything else. Its shape is known without its values."""
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or len(shape) != 1 or not isinstance(shape[0], int):
        return 1
    return shape[0]


def without_long_texts(metrics: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What is left for ``log()``, and the texts that are too long for it, each with its name before it."""
    texts = {name: text for name, text in metrics.items() if isinstance(text, str) and len(text) > LONGEST_TEXT}
    if not texts:
        return metrics, []
    rest = {name: value for name, value in metrics.items() if name not in texts}
    return rest, [f"{name}: {text}" for name, text in texts.items()]
