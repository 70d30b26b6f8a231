"""What tickets are made of: sentences of four queues, of no queue, and of another language, with words to fill in."""

from __future__ import annotations

import numpy as np

QUEUES = ("account", "billing", "delivery", "technical")

OF_QUEUE: dict[str, tuple[str, ...]] = {
    "account": (
        "I can not sign in with my {adjective} password since {weekday}.",
        "Please change the address of my account to {city}.",
        "The link to reset my password never reaches me in {city}.",
        "Somebody from {city} seems to use my profile.",
        "I want to close my {adjective} account at the end of {month}.",
        "My name is spelled wrong on the profile page since {month}.",
        "How do I add a {adjective} second user to our account?",
        "The code for signing in comes {adjective} late by text message.",
        "Two profiles of mine should become one before {weekday}.",
    ),
    "billing": (
        "I was charged {amount} twice for the {product}.",
        "The invoice of {month} shows {amount} instead of the agreed price.",
        "Please refund {amount} to my card, the {product} went back on {weekday}.",
        "My discount for the {product} is missing on the bill.",
        "Which tax is part of the {amount} that you took on {weekday}?",
        "The payment of {month} failed although my card is {adjective}.",
        "I need the invoice of {month} with the address of our office in {city}.",
        "Your reminder asks for {amount}, which I paid on {weekday}.",
        "Can I pay the {adjective} {product} in three parts?",
    ),
    "delivery": (
        "The {product} has not reached {city} yet.",
        "My parcel stands still in {city} since {weekday}.",
        "The courier left the {product} with a {adjective} neighbour.",
        "The box was {adjective} and the {product} inside was wet.",
        "Can the {product} come on {weekday} instead?",
        "Half of the order is missing, the {product} was not in the parcel.",
        "The tracking page shows {city}, where nobody of us lives.",
        "Please send the {product} to {city}, we have moved in {month}.",
        "It has been {days} days and no parcel of yours came to {city}.",
    ),
    "technical": (
        "The {product} does not start any more since the update of {month}.",
        "My {product} loses its connection every {days} minutes.",
        "The display of the {product} stays {adjective} after I switch it on.",
        "The app closes when I open the settings of the {product}.",
        "The {product} makes a {adjective} noise while it charges.",
        "After {days} hours the battery of the {product} is empty.",
        "How do I reset the {adjective} {product} to its first state?",
        "The {product} and my phone do not find each other since {weekday}.",
        "The update stops at {days} percent on my {adjective} {product}.",
    ),
}
GENERAL: tuple[str, ...] = (
    "I have been a customer for {days} years.",
    "I wrote about this on {weekday} already.",
    "Your colleague in {city} was {adjective} but could not help.",
    "It was a present for {month}.",
    "We need an answer before {weekday}.",
    "The order number is {order}.",
    "I bought it in {city} in {month}.",
    "On the phone I waited for {days} minutes.",
    "This is {adjective} and I hope that you can help.",
    "A picture of the {product} is attached.",
)
OPENING = (
    "Hello,", "Dear team,", "Good morning,", "Hi,", "Good evening,", "To whom it may concern,", "Dear support,",
    "Hello again,", "Good day,",
)  # fmt: skip
CLOSING = (
    "Thank you", "Kind regards", "Thanks in advance", "Best wishes", "Yours", "Regards", "Many thanks", "Cheers",
)  # fmt: skip

GERMAN: dict[str, tuple[str, ...]] = {
    "account": (
        "Ich kann mich seit {weekday} nicht mehr anmelden.",
        "Bitte ändern Sie die Adresse in meinem Konto auf {city}.",
        "Der Link zum Zurücksetzen des Passworts kommt nie an.",
    ),
    "billing": (
        "Mir wurden zweimal {amount} für das Gerät {product} abgebucht.",
        "Auf der Rechnung stehen {amount} und nicht der vereinbarte Preis.",
        "Bitte erstatten Sie mir {amount} auf mein Konto.",
    ),
    "delivery": (
        "Das Paket nach {city} ist noch immer nicht angekommen.",
        "Der Bote hat das Gerät {product} bei einem Nachbarn abgegeben.",
        "Die Hälfte der Bestellung fehlt seit {days} Tagen.",
    ),
    "technical": (
        "Das Gerät {product} startet nach der Aktualisierung nicht mehr.",
        "Die Verbindung bricht alle {days} Minuten ab.",
        "Der Bildschirm bleibt schwarz, wenn ich ihn einschalte.",
    ),
}
GERMAN_GENERAL = (
    "Ich bin schon seit {days} Jahren Kunde bei Ihnen.",
    "Am Telefon habe ich lange gewartet.",
    "Wir brauchen bald eine Antwort.",
    "Die Nummer der Bestellung lautet {order}.",
)

WORDS: dict[str, tuple[str, ...]] = {
    "product": (
        "lamp", "speaker", "kettle", "headset", "camera", "router", "toaster", "watch", "keyboard", "printer",
        "radio", "scale", "drill", "mixer", "heater", "fan", "tablet", "charger", "monitor", "doorbell",
    ),
    "city": (
        "Lisbon", "Porto", "Leeds", "York", "Bergen", "Oslo", "Turin", "Genoa", "Lyon", "Nantes", "Ghent", "Bruges",
        "Cork", "Galway", "Malmo", "Lund", "Gdansk", "Krakow", "Graz", "Linz",
    ),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "month": (
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ),
    "adjective": (
        "new", "old", "second", "dark", "strange", "loud", "friendly", "slow", "broken", "empty", "good", "bad",
        "wrong", "blue", "small", "heavy",
    ),
}  # fmt: skip
NEW_PRODUCTS = ("flurbox", "zenmop", "quibbler", "tazpod", "wavolight", "snorrito")
"""Products that no ticket of the reference names."""
FOOTER = (
    "This message was written with the mobile application of the shop. "
    "Device language English, application version {days}, network wireless, storage free, notifications on. "
    "The last five screens were home, orders, order details, help and contact. "
    "The content of this message is meant for its receiver alone; whoever received it by mistake is asked to delete "
    "it and to tell the sender about that."
)
"""What a new version of the app appends."""


def ticket(rng: np.random.Generator, queue: str, *, german: bool = False, new_product: bool = False) -> str:
    """One ticket of a queue.

    Parameters
    ----------
    rng : Generator
    queue : str
        One of `QUEUES`.
    german : bool, default False
        Whether it is German.
    new_product : bool, default False
        Whether its products are new ones.
    """
    own, general = (GERMAN, GERMAN_GENERAL) if german else (OF_QUEUE, GENERAL)
    other = QUEUES[rng.integers(len(QUEUES))] if rng.random() < 0.15 else queue
    parts = [
        *_some(rng, own[queue], 2 if german else 1 + int(rng.integers(1, 3))),
        *_some(rng, own[other], int(other != queue)),
        *_some(rng, general, int(rng.integers(0, 4))),
    ]
    words = WORDS | ({"product": NEW_PRODUCTS} if new_product else {})
    filled = [filled_in(rng, part, words) for part in parts]
    if german:
        return " ".join(["Guten Tag,", *filled, "Mit freundlichen Grüßen"])
    return " ".join([_one(rng, OPENING), *filled, _one(rng, CLOSING)])


def filled_in(rng: np.random.Generator, sentence: str, words: dict[str, tuple[str, ...]] = WORDS) -> str:
    """A sentence with a word of each list where it asks for one."""
    return sentence.format(
        **{name: _one(rng, of) for name, of in words.items()},
        amount=f"{rng.integers(5, 400)}.{rng.integers(100):02}",
        days=int(rng.integers(2, 40)),
        order=f"A-{rng.integers(10**7, 10**8)}",
    )


def _some(rng: np.random.Generator, of: tuple[str, ...], n: int) -> list[str]:
    return [of[k] for k in rng.permutation(len(of))[:n]]


def _one(rng: np.random.Generator, of: tuple[str, ...]) -> str:
    return of[rng.integers(len(of))]
