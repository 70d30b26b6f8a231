"""One prediction put together value by value, in the words of BentoML's monitoring (name, role, data_type)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sightline_client.wrap import new_id

if TYPE_CHECKING:
    from sightline_client.client import Client

ROLES = ("feature", "prediction", "target")


class Monitor:
    """Context manager made by `Client.monitor`.

    What was logged inside goes out as one prediction (and label) at its end.
    """

    def __init__(self, log: Client, id: Any) -> None:
        self._log = log
        self.id = new_id() if id is None else id
        self._features: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}
        self._class_scores: dict[str, Any] = {}
        self._target: Any = None
        self._failed: str | None = None

    def log(self, data: Any, name: str, role: str, data_type: str) -> None:
        """Add one value.

        Parameters
        ----------
        data : any
            The value.
        name : str
            Name of the feature; of a prediction: ``score`` for a score, else the predicted class or value. A
            ``numerical_sequence`` prediction holds the probabilities of classes ``0, 1, ...``.
        role : {"feature", "prediction", "target"}
            What it is; a target is logged as the label.
        data_type : {"numerical", "categorical", "numerical_sequence"}
            Its type.
        """
        if role == "feature":
            self._features[name] = data
        elif role == "target":
            self._target = data
        elif role != "prediction":
            self._failed = f"role {role!r} is none of {', '.join(ROLES)}"
        elif data_type == "numerical_sequence":
            self._class_scores = {str(index): value for index, value in enumerate(data)}
        else:
            is_score = data_type == "numerical" and (name == "score" or name.startswith("p_") or "prob" in name)
            self._outputs["score" if is_score else "prediction"] = data

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._failed:
            self._log.note_error(ValueError(self._failed))
            return
        self._log.prediction(
            self.id, features=self._features, class_scores=self._class_scores or None,
            status=None if exc_info[0] is None else "error", **self._outputs,
        )  # fmt: skip
        if self._target is not None:
            self._log.label(self.id, self._target)
