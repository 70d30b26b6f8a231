"""Telling objects from arrays in data from outside (JSON, YAML), in words that a type checker understands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

Json = Mapping[Any, Any] | list[Any] | str | int | float | bool | None
"""What a JSON text or its like decodes to. Keys are told to be text where that is certain."""


def is_object(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether it is an object: its keys are text in JSON, and in YAML once the loader has refused all others."""
    return isinstance(value, Mapping)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether it is an array, with elements of any kind."""
    return isinstance(value, list)
