"""Sixteen weeks of tickets, what is put into them and when, and the classifier that reads them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np
import polars as pl

from demo.facts import Fact
from demo.tickets.phrases import FOOTER, QUEUES, filled_in, ticket

DAYS, PER_DAY, REFERENCE_ROWS = 112, 400, 6_000
WEEKEND = 0.6
"""Tickets on a day of the weekend, as a share of those of another day."""
MISFILED = 0.05
"""Tickets whose queue is another one than they read."""
SIZE = 24
"""Numbers of an embedding."""
GERMAN, NEW_PRODUCT, FOOTERS, COPIES = 0.25, 0.5, 0.5, 0.3
"""Shares of the tickets that each change concerns."""
TEXT = "message"


@dataclass(frozen=True)
class Change:
    """What is put in.

    Parameters
    ----------
    id, title : str
        Short name, and one sentence for people.
    first, last : int
        Days since the first one, both included.
    streams : tuple of str
        Patterns of the streams that should tell it.
    """

    id: str
    title: str
    first: int
    last: int
    streams: tuple[str, ...]

    def fact(self, start: date) -> Fact:
        """What the demo's score asks; incidents of any stream in the change's days are explained by it."""
        days = (start + timedelta(days=day) for day in (self.first, self.last))
        return Fact(self.id, self.title, "find", *days, self.streams, slack_days=3, also=("*",))


CHANGES = (
    Change("language", f"{GERMAN:.0%} of the tickets are German", 42, 48, (f"drift/{TEXT}.language/*",)),
    Change(
        "vocabulary",
        f"{NEW_PRODUCT:.0%} of the tickets name products that the reference has never seen",
        56,
        62,
        (f"drift/{TEXT}/unknown_word_share", f"drift/{TEXT}/word_distance"),
    ),
    Change(
        "length",
        f"A new version of the app appends 75 words to {FOOTERS:.0%} of the tickets",
        70,
        76,
        (f"drift/{TEXT}.characters/*", f"drift/{TEXT}.words/*"),
    ),
    Change(
        "copies",
        f"A retry sends {COPIES:.0%} of the tickets again under another id",
        84,
        88,
        (f"drift/{TEXT}/duplicate_text_rate",),
    ),
    Change(
        "embedding",
        "The model of the embeddings is replaced: the same texts, other axes",
        98,
        DAYS - 1,
        ("drift/embedding/*",),
    ),
)


def active(change: str, day: int) -> bool:
    """Whether a change is in force on a day."""
    found = next(each for each in CHANGES if each.id == change)
    return found.first <= day <= found.last


def first_day(today: date) -> date:
    """First day: the last one is the day before yesterday, so that it is over."""
    return today - timedelta(days=DAYS + 1)


def generate(start: date) -> pl.DataFrame:
    """Tickets of the reference (day -1) and of all days.

    Returns
    -------
    polars.DataFrame
        ``ticket_id, day, at, message, queue, known_at``, in the order of time.
    """
    rng = np.random.default_rng(20260101)
    moment = datetime.combine(start, time())
    frames = [_day(rng, -1, moment - timedelta(days=28), timedelta(days=28), REFERENCE_ROWS)]
    for day in range(DAYS):
        at = moment + timedelta(days=day)
        n = int(rng.poisson(PER_DAY * (WEEKEND if at.weekday() >= 5 else 1.0)))
        frames.append(_day(rng, day, at, timedelta(days=1), n))
    return pl.concat(frames)


def _day(rng: np.random.Generator, day: int, start: datetime, length: timedelta, n: int) -> pl.DataFrame:
    # Which queues a day is full of is not the same every day
    shares = rng.dirichlet(400 * np.array([0.2, 0.25, 0.3, 0.25]))
    queues = rng.choice(QUEUES, n, p=shares)
    texts = [
        ticket(
            rng,
            queue,
            german=rng.random() < (GERMAN if active("language", day) else 0.02),
            new_product=active("vocabulary", day) and rng.random() < NEW_PRODUCT,
        )
        for queue in queues
    ]
    if active("length", day):
        texts = [f"{text} {filled_in(rng, FOOTER)}" if rng.random() < FOOTERS else text for text in texts]
    if active("copies", day):
        for k in range(1, n):
            if rng.random() < COPIES:
                source = int(rng.integers(k))
                texts[k], queues[k] = texts[source], queues[source]
    filed = np.where(rng.random(n) < MISFILED, rng.choice(QUEUES, n), queues)
    at = [start + length * float(share) for share in np.sort(rng.random(n))]
    known = [moment + timedelta(days=float(days)) for moment, days in zip(at, rng.gamma(2.0, 0.75, n), strict=True)]
    name = "r" if day < 0 else f"{day:03}"
    return pl.DataFrame(
        {
            "ticket_id": [f"{name}-{k:04}" for k in range(n)],
            "day": day,
            "at": at,
            TEXT: texts,
            "queue": filed.tolist(),
            "known_at": known,
        },
        schema_overrides={"at": pl.Datetime("us"), "known_at": pl.Datetime("us")},
    )


def answered(tickets: pl.DataFrame) -> pl.DataFrame:
    """Tickets with what the model says: a probability per queue (``p_<queue>``) and an embedding of `SIZE` numbers.

    Both read counts of words (TF-IDF) that were fitted on tickets of their own; the embedding is their singular value
    decomposition, and after the last change that of another fit.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(20260102)
    queues = rng.choice(QUEUES, 3_000)
    training = [ticket(rng, queue) for queue in queues]
    vectorizer = TfidfVectorizer(min_df=2, sublinear_tf=True)
    counts = vectorizer.fit_transform(training)
    filed = np.where(rng.random(len(queues)) < MISFILED, rng.choice(QUEUES, len(queues)), queues)
    classifier = LogisticRegression(C=2.0, max_iter=500).fit(counts, filed)
    old = TruncatedSVD(SIZE, random_state=1).fit(counts)
    new = TruncatedSVD(SIZE, random_state=2).fit(counts[: len(training) // 2])
    rotation = np.linalg.qr(rng.normal(size=(SIZE, SIZE)))[0]

    found = vectorizer.transform(tickets[TEXT].to_list())
    scores = classifier.predict_proba(found)
    is_new = np.array([active("embedding", day) for day in tickets["day"]])
    vectors = np.where(is_new[:, None], new.transform(found) @ rotation, old.transform(found)).astype(np.float32)
    return tickets.with_columns(
        *(pl.Series(f"p_{queue}", scores[:, k]) for k, queue in enumerate(classifier.classes_)),
        pl.Series("embedding", vectors.tolist(), dtype=pl.List(pl.Float32)),
    )
