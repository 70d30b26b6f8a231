"""One reading of class names: 1, 1.0, ``"1.0"``, ``" 1"``, true and ``"True"`` are one class in every table.

Truth reaches a monitor as booleans, numbers or words, and each writer spells them in its own way: pandas writes
``True``, and 1.0 where a column of integers has a gap. A name that is none of the classes is said to be none, never
taken for the other class.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

TRUTHS = (("1", "0"), ("true", "false"), ("yes", "no"), ("y", "n"), ("t", "f"))
"""Pairs of words for true and false."""
SAME = {
    "1": ("1", "true"),
    "true": ("true", "1", "yes", "y", "t"),
    "yes": ("yes", "y", "true"),
    "y": ("y", "yes", "true"),
    "t": ("t", "true"),
}
"""Words that mean the same as the first."""
NO_VALUE = ("", "nan", "null", "<na>", "nat")
"""How writers spell that there is no value, where text has no null; in small letters."""
PYTHON_NONE = "None"
NO_ANSWER = (
    *("?", "??", "-", "--", ".", "n/a", "#n/a", "na", "n.a.", "<none>", "none", "nil", "unknown", "unk", "undefined"),
    *("missing", "not available", "not known", "unlabeled", "unlabelled"),
)
"""Words that say the truth is not known: no class is called so unless it is named among the classes."""
WHOLE = re.compile(r"([+-]?)([0-9]+)(?:\.0*(?:[eE][+-]?0+)?|[eE][+-]?0+)")
WHOLE_PLAIN = re.compile(r"-?(?:0|[1-9][0-9]*)\.0+")
PYTHON_BOOLEANS = {"True": "true", "False": "false"}
LARGEST_WHOLE = 2.0**63


def category_text(value: str) -> str:
    """Text of a category as the same value of another type is spelled: ``2.0`` as 2, ``True`` as true.

    Parameters
    ----------
    value : str
        A category.

    Returns
    -------
    str
        All other texts as they are.

    Examples
    --------
    >>> [category_text(text) for text in ("2.0", "True", "02.0", "2.50", "true ")]
    ['2', 'true', '02.0', '2.50', 'true ']
    """
    if WHOLE_PLAIN.fullmatch(value):
        return str(int(value.partition(".")[0]))
    return PYTHON_BOOLEANS.get(value, value)


def class_text(value: object) -> str:
    """The one spelling of a class: ``true`` or ``false``, whole numbers without a fraction, text without blanks around.

    Parameters
    ----------
    value : bool, int, float, Decimal or str
        A class as some table or file holds it.

    Returns
    -------
    str
        As the lake spells it.

    Examples
    --------
    >>> class_text(1.0), class_text(True), class_text("on time"), class_text(" 2.0"), class_text("True")
    ('1', 'true', 'on time', '2', 'true')
    >>> [class_text(text) for text in ("1.00", "1e0", "1.0E+00", "01", "1e2")]
    ['1', '1', '1', '01', '1e2']
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return class_text(format(value, "f"))
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < LARGEST_WHOLE else repr(value)
    text = str(value).strip()
    if found := WHOLE.fullmatch(text):
        sign = "-" if found[1] == "-" and found[2] != "0" else ""
        return sign + found[2]
    return text.lower() if text.lower() in ("true", "false") else text


def _key(value: str) -> str:
    return class_text(value).casefold()


@dataclass(frozen=True)
class ClassNames:
    """The classes of a task, and how each may be spelled.

    Attributes
    ----------
    known : mapping of str to str
        Spelling without case -> class.
    is_closed : bool
        There are no other classes.
    """

    known: Mapping[str, str]
    is_closed: bool

    def read(self, value: str) -> str | None:
        """Class that a text spells; None if it spells none.

        Parameters
        ----------
        value : str
            Text of a label or a prediction.

        Returns
        -------
        str or None
            A known class as it was named, another as `class_text` spells it.
        """
        if value in self.known.values():
            return value
        if (named := self._named(value)) is not None:
            return named
        if self.is_closed or self.is_missing(value) or _key(value) in NO_ANSWER:
            return None
        return class_text(value)

    def is_missing(self, value: str) -> bool:
        """Whether a text says that there is no value.

        Parameters
        ----------
        value : str
            Text of a label or a prediction.

        Returns
        -------
        bool
            False of a word that names a class.
        """
        text = value.strip()
        return (text.casefold() in NO_VALUE or text == PYTHON_NONE) and self._named(value) is None

    def _named(self, value: str) -> str | None:
        exact = class_text(value)
        return exact if exact in self.known.values() else self.known.get(_key(value))


def counterpart(positive: str) -> str | None:
    """The other of a pair of words for true and false; None if it is none of them.

    Parameters
    ----------
    positive : str
        A class.

    Returns
    -------
    str or None
        In small letters.

    Examples
    --------
    >>> counterpart("1"), counterpart("No"), counterpart("late")
    ('0', 'yes', None)
    """
    pairs = {word: other for pair in TRUTHS for word, other in (pair, pair[::-1])}
    return pairs.get(_key(positive))


def binary_classes(positive: object, negative: Iterable[object] = ()) -> ClassNames:
    """How the two classes of a binary task may be spelled.

    Parameters
    ----------
    positive : bool, int, float or str
        The positive class.
    negative : iterable of the same, optional
        What counts as negative; default: the counterpart of 1, true, yes, y or t (or of 0, false, ...), and every other
        name if `positive` has none.

    Returns
    -------
    ClassNames
        Closed if what is negative is known.

    Examples
    --------
    >>> names = binary_classes(1)
    >>> [names.read(text) for text in ("True", "1.0", " 1", "0.0", "false", "yes", "unknown", "2")]
    ['1', '1', '1', '0', '0', None, None, None]
    >>> [binary_classes("late").read(text) for text in ("Late", "on time", "cancelled", "unknown")]
    ['late', 'on time', 'cancelled', None]
    >>> [binary_classes("late", ["on time"]).read(text) for text in ("on time", "cancelled")]
    ['on time', None]
    """
    name = class_text(positive)
    others = [class_text(value) for value in negative]
    other = counterpart(name)
    if not others and other is not None:
        others = [other]
    known = _spellings([*others, name])
    if other is not None and counterpart(others[0]) is not None:
        is_true = _key(name) in SAME
        negations = dict(TRUTHS)
        for word in SAME[_key(name) if is_true else _key(other)]:
            known.setdefault(word, name if is_true else others[0])
            known.setdefault(negations[word], others[0] if is_true else name)
    return ClassNames(known, is_closed=bool(others))


def _spellings(names: Iterable[str]) -> dict[str, str]:
    """Each class by its spelling without case; classes that differ only in case by themselves, as they are."""
    keys = [(_key(name), name) for name in dict.fromkeys(names)]
    shared = {key for key, n in Counter(key for key, _ in keys).items() if n > 1}
    return {name if key in shared else key: name for key, name in keys}


def several_classes(names: Iterable[str] = ()) -> ClassNames:
    """How the classes of a task of several may be spelled.

    Parameters
    ----------
    names : iterable of str, optional
        All classes, the first spelling of each as it is named; none: they are not known, and every name is a class but
        the words for no answer (`NO_ANSWER`).

    Returns
    -------
    ClassNames
        Closed if classes are named.

    Examples
    --------
    >>> [several_classes(["2", "setosa"]).read(text) for text in ("2.0", " Setosa", "virginica", "nan")]
    ['2', 'setosa', None, None]
    >>> [several_classes().read(text) for text in ("2.0", "virginica", "nan", "unknown", "N/A", "?")]
    ['2', 'virginica', None, None, None, None]
    >>> several_classes(["known", "unknown"]).read("Unknown")
    'unknown'
    """
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(class_text(name), name)
    return ClassNames(_spellings(first.values()), is_closed=bool(first))
