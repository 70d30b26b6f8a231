"""Decorating a predict function: id, features, result, latency and status of each call."""

from __future__ import annotations

import functools
import inspect
import logging
import time
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Callable, Union

from sightline_client.errors import SightlineClientError

if TYPE_CHECKING:
    from sightline_client.client import Client

logger = logging.getLogger("sightline_client")

_current_id: ContextVar[str | None] = ContextVar("sightline_prediction_id", default=None)

Result = Union[str, Callable[[Any], Mapping[str, Any]]]
OUTPUT_FIELDS = ("score", "prediction", "class_scores", "version", "entity", "query", "weight")


def current_prediction_id() -> str | None:
    """Id of the prediction being made, or made last, in this context.

    A context is the inside of a request, or what is in and after a wrapped function.
    """
    return _current_id.get()


def new_id() -> str:
    """A random prediction id; from now on the current one."""
    return set_current_id(uuid.uuid4().hex)


def set_current_id(prediction_id: str) -> str:
    """Make this the id `current_prediction_id` returns in this context."""
    _current_id.set(prediction_id)
    return prediction_id


def read_result(result: Any, rule: Result = "score") -> dict[str, Any]:
    """Keyword arguments of `Client.prediction` from what a model returned.

    Parameters
    ----------
    result : any
        A number; a mapping with any of `OUTPUT_FIELDS`; or anything else: the predicted class.
    rule : {"score", "prediction"} or callable
        What a number is; or a function that gives the keyword arguments.
    """
    if callable(rule):
        return dict(rule(result))
    if isinstance(result, Mapping):
        return {name: result[name] for name in OUTPUT_FIELDS if name in result}
    if isinstance(result, (list, tuple)) and len(result) == 1:
        result = result[0]
    is_number = not isinstance(result, (bool, str)) and hasattr(result, "__float__")
    return {rule if is_number else "prediction": result}


def wrap_function(
    log: Client,
    function: Callable[..., Any],
    id: Callable[..., Any] | None,
    features: Callable[..., Any] | None,
    result: Result,
    version: str | None,
) -> Callable[..., Any]:
    """See `Client.wrap`."""

    def begin(args: Any, kwargs: Any) -> tuple[str, float]:
        prediction_id = None
        if id is not None:
            try:
                prediction_id = str(id(*args, **kwargs))
            except Exception:  # the user's function must not break the prediction
                logger.exception("the function that gives the prediction id failed; a random id is used")
        return (new_id() if prediction_id is None else set_current_id(prediction_id)), time.perf_counter()

    def end(call: tuple[str, float], args: Any, kwargs: Any, outputs: Callable[[], dict[str, Any]]) -> None:
        elapsed = (time.perf_counter() - call[1]) * 1000.0
        try:
            inputs = features(*args, **kwargs) if features is not None else _default_features(args, kwargs)
            log.prediction(call[0], features=inputs, latency_ms=elapsed, **{"version": version, **outputs()})
        except Exception:  # as above; with sync=True the user asked to hear of it
            if log.sync:
                raise
            logger.exception("a call of %s could not be logged", getattr(function, "__name__", function))

    call_method = type(function).__call__  # of an object that is called like a function
    if any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in (function, call_method)):
        raise SightlineClientError("a generator cannot be wrapped: call log.prediction(...) where its result is known")
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call_method):

        @functools.wraps(function)
        async def asynchronous(*args: Any, **kwargs: Any) -> Any:
            call = begin(args, kwargs)
            try:
                value = await function(*args, **kwargs)
            except BaseException:
                end(call, args, kwargs, lambda: {"status": "error"})
                raise
            end(call, args, kwargs, lambda: read_result(value, result))
            return value

        return asynchronous

    @functools.wraps(function)
    def synchronous(*args: Any, **kwargs: Any) -> Any:
        call = begin(args, kwargs)
        try:
            value = function(*args, **kwargs)
        except BaseException:
            end(call, args, kwargs, lambda: {"status": "error"})
            raise
        end(call, args, kwargs, lambda: read_result(value, result))
        return value

    return synchronous


def _default_features(args: Any, kwargs: Any) -> Mapping[str, Any]:
    for value in args:
        if isinstance(value, Mapping):
            return value
    return kwargs
