"""Per-stream state as named arrays that grow and travel as JSON."""

from __future__ import annotations

import base64
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray


def encode(array: NDArray[Any]) -> dict[str, Any]:
    """Pack an array into a JSON-able dict, bit for bit.

    Parameters
    ----------
    array : ndarray
        Numbers or booleans.

    Returns
    -------
    dict
        ``dtype``, ``shape`` and the bytes in base 64 as ``data``.

    Examples
    --------
    >>> encode(np.array([1, 2], dtype=np.int16))
    {'dtype': '<i2', 'shape': [2], 'data': 'AQACAA=='}
    """
    array = np.ascontiguousarray(array)
    return {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "data": base64.b64encode(array.tobytes()).decode("ascii"),
    }


def decode(packed: dict[str, Any]) -> NDArray[Any]:
    """Inverse of `encode`.

    Parameters
    ----------
    packed : dict
        Result of `encode`.

    Returns
    -------
    ndarray
        Writable.

    Examples
    --------
    >>> decode(encode(np.array([[0.5, np.nan]])))
    array([[0.5, nan]])
    """
    flat = np.frombuffer(base64.b64decode(packed["data"]), dtype=np.dtype(packed["dtype"]))
    return flat.reshape(packed["shape"]).copy()


class Columns:
    """Base of the engine's parts: class attribute `FIELDS` maps a name to (dtype, fill, has a second axis).

    Parameters
    ----------
    size : int, default 0
        Streams.
    width : int, default 1
        Length of the second axis.
    """

    FIELDS: ClassVar[dict[str, tuple[type, float, bool]]] = {}

    def __init__(self, size: int = 0, width: int = 1) -> None:
        self.size, self.width = 0, width
        for name, (dtype, _, wide) in self.FIELDS.items():
            setattr(self, name, np.empty((0, width) if wide else 0, dtype=dtype))
        self.grow(size)

    def grow(self, extra: int) -> None:
        """Append streams with the fill values.

        Parameters
        ----------
        extra : int
            How many.
        """
        for name, (dtype, fill, wide) in self.FIELDS.items():
            block = cast("NDArray[Any]", np.full((extra, self.width) if wide else extra, fill, dtype=dtype))
            setattr(self, name, np.concatenate([getattr(self, name), block]))
        self.size += extra

    def pack(self) -> dict[str, Any]:
        """All arrays as a JSON-able dict.

        Returns
        -------
        dict
            Name -> result of `encode`.
        """
        return {name: encode(getattr(self, name)) for name in self.FIELDS}

    def unpack(self, packed: dict[str, Any]) -> None:
        """Take the arrays of `pack`.

        Parameters
        ----------
        packed : dict
            Result of `pack`.
        """
        for name in self.FIELDS:
            setattr(self, name, decode(packed[name]))
        first = getattr(self, next(iter(self.FIELDS)))
        self.size = len(first)
