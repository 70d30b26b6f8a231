"""The outbox: each change once, one sender at a time, nothing lost between its steps."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from sightline.alerts.outbox import COLLAPSE_FROM, KEPT_SECONDS, LEASE_SECONDS, MIN_TRIES, Outbox, enqueue
from sightline.alerts.schedule import LONGEST_SECONDS, delay
from sightline.errors import SightlineError
from tests.support.outbox import fact, make_home

DAY = 86400.0


@pytest.fixture
def home(tmp_path):
    return make_home(tmp_path)


def routed(outbox, changes, channels=("ops",), now=1000.0):
    outbox.add(changes)
    outbox.route([(change, channels) for change in outbox.unrouted()], now)


def test_a_change_is_known_once(home):
    assert enqueue(home, [fact(1), fact(2), fact(1)]) == 2
    assert enqueue(home, [fact(2), fact(3)]) == 1
    with Outbox(home) as outbox:
        assert [change.facts["subject"] for change in outbox.unrouted()] == ["run 1", "run 2", "run 3"]
        assert outbox.unrouted()[0] == fact(1)
        assert outbox.told("churn") == {fact(n).id for n in (1, 2, 3)} and outbox.told("other") == set()


def test_many_processes_put_in_the_same(home):
    with ThreadPoolExecutor(8) as pool:
        new = list(pool.map(lambda k: enqueue(home, [fact(n) for n in range(k, k + 5)]), range(16)))
    assert sum(new) == 20
    with Outbox(home) as outbox:
        assert len(outbox.unrouted()) == 20


def test_two_senders_never_claim_the_same(home):
    with Outbox(home) as outbox:
        routed(outbox, [fact(n) for n in range(12)])
    start, end = threading.Barrier(4), threading.Barrier(4)

    def work(_):
        with Outbox(home) as outbox, outbox.sender() as owner:
            start.wait()
            found = []
            while (message := outbox.claim("ops", owner, 1000.0)) is not None:
                found.append(message.id)
            end.wait()  # a sender that is gone leaves its messages to others
            return found

    with ThreadPoolExecutor(4) as pool:
        claimed = [key for part in pool.map(work, range(4)) for key in part]
    assert len(claimed) == len(set(claimed)) == 12


def test_a_lease_that_ran_out_is_taken_over_under_the_same_key(home):
    with Outbox(home) as outbox, outbox.sender() as first, outbox.sender() as second:
        routed(outbox, [fact(1)])
        message = outbox.claim("ops", first, 1000.0)
        assert outbox.claim("ops", second, 1000.0 + LEASE_SECONDS - 1) is None
        again = outbox.claim("ops", second, 1000.0 + LEASE_SECONDS)
        assert (again.id, again.attempts) == (message.id, 2)
        assert outbox.failed(message, "late", 1200.0, give_up_seconds=DAY) == 0  # it is the other one's by now
        assert outbox.counts()["sending"] == 1
        outbox.sent(message, 1201.0)  # but what arrived has arrived
        assert outbox.counts()["sent"] == 1
        outbox.failed(again, "refused", 1202.0, give_up_seconds=DAY)
        assert outbox.counts() == {
            "unrouted": 0, "queued": 0, "held": 0, "sending": 0, "failed": 0, "sent": 1, "dead": 0,
        }  # fmt: skip


def test_a_dead_sender_leaves_its_message_at_once(home):
    with Outbox(home) as outbox:
        routed(outbox, [fact(1)])
        with outbox.sender() as gone:
            assert outbox.claim("ops", gone, 1000.0) is not None
        with outbox.sender() as owner:
            assert outbox.claim("ops", owner, 1001.0).attempts == 2


def test_failures_are_tried_later_and_later_with_jitter():
    rng = random.Random(1)
    waits = [delay(n, rng) for n in range(1, 16)]
    assert all(0.5 * min(3600.0, 5.0 * 2 ** (n - 1)) <= wait <= LONGEST_SECONDS for n, wait in enumerate(waits, 1))
    assert waits[0] <= 5.0 and min(waits[11:]) >= 1800.0
    assert len({delay(10, random.Random(seed)) for seed in range(5)}) == 5


def test_a_channel_that_is_down_rests_whole(home):
    with Outbox(home) as outbox, outbox.sender() as owner:
        routed(outbox, [fact(n) for n in range(5)])
        message = outbox.claim("ops", owner, 1000.0)
        outbox.failed(message, "answered 500", 1000.0, give_up_seconds=DAY)
        assert outbox.claim("ops", owner, 1002.0) is None
        assert outbox.claim("ops", owner, 1006.0).id == message.id
        assert outbox.resting(1000.0) != {}


def test_a_refused_message_does_not_stop_the_others(home):
    with Outbox(home) as outbox, outbox.sender() as owner:
        routed(outbox, [fact(1), fact(2)])
        message = outbox.claim("ops", owner, 1000.0)
        outbox.failed(message, "answered 400", 1000.0, give_up_seconds=DAY, is_channel_down=False)
        assert outbox.claim("ops", owner, 1000.0).changes == (fact(2),)


def test_what_concerns_one_incident_keeps_its_order(home):
    lines = [replace(fact(n), incident="2026-03-02-aaaaaa") for n in range(3)] + [fact("other")]
    with Outbox(home) as outbox, outbox.sender() as owner:
        routed(outbox, lines)
        first = outbox.claim("ops", owner, 1000.0)
        assert first.changes == (lines[0],)
        outbox.failed(first, "answered 400", 1000.0, give_up_seconds=DAY, is_channel_down=False)
        assert outbox.claim("ops", owner, 1000.0).changes == (lines[3],)
        assert outbox.claim("ops", owner, 1000.0) is None
        again = outbox.claim("ops", owner, 1006.0)
        assert again.changes == (lines[0],)
        outbox.sent(again, 1006.0)
        assert outbox.claim("ops", owner, 1006.0).changes == (lines[1],)


def test_nothing_is_given_up_early(home):
    with Outbox(home) as outbox, outbox.sender() as owner:
        routed(outbox, [fact(1), fact(2)])
        now, dead, tries = 1000.0, 0, 0
        while not dead:
            message = outbox.claim("ops", owner, now)
            if message is not None:
                tries += 1
                dead = outbox.failed(message, "answered 500", now, give_up_seconds=3 * DAY)
            now += 60.0
        assert 3 * DAY <= now - 1000.0 <= 3 * DAY + 3700.0
        assert dead == 2  # the second waited as long for the same channel
        assert 72 <= tries < 300
        assert outbox.counts()["dead"] == 2


def test_a_machine_that_was_off_for_a_week_gives_nothing_up(home):
    with Outbox(home) as outbox, outbox.sender() as owner:
        routed(outbox, [fact(1)])
        outbox.failed(outbox.claim("ops", owner, 1000.0), "refused", 1000.0, give_up_seconds=3 * DAY)
        now = 1000.0 + 7 * DAY
        for tries in range(2, MIN_TRIES + 1):
            message = outbox.claim("ops", owner, now)
            assert outbox.failed(message, "refused", now, give_up_seconds=3 * DAY) == (tries == MIN_TRIES)
            now += 3601.0


def test_ten_thousand_travel_as_one_and_none_is_lost(home):
    changes = [fact(n) for n in range(10_000)]
    with Outbox(home) as outbox, outbox.sender() as owner:
        routed(outbox, changes)
        message = outbox.claim("ops", owner, 1000.0)
        assert {change.id for change in message.changes} == {change.id for change in changes}
        outbox.sent(message, 1001.0)
        assert outbox.counts()["sent"] == 10_000 and outbox.claim("ops", owner, 1002.0) is None


def test_what_was_told_long_ago_is_deleted_and_never_told_again(home):
    with Outbox(home) as outbox, outbox.sender() as owner:
        routed(outbox, [fact(1), fact(2)])
        outbox.sent(outbox.claim("ops", owner, 1000.0), 1001.0)
        now = time.time()
        assert outbox.forget(now + KEPT_SECONDS - 60.0) == 0
        assert outbox.forget(now + KEPT_SECONDS + 60.0) == 1  # the other still waits
        assert [row["what"] for row in outbox.listed()] == [fact(2).facts["what"]]
        assert outbox.add([fact(1)]) == 0


def test_a_few_travel_alone(home):
    with Outbox(home) as outbox, outbox.sender() as owner:
        routed(outbox, [fact(n) for n in range(COLLAPSE_FROM)])
        assert len(outbox.claim("ops", owner, 1000.0).changes) == 1


def test_a_newer_file_is_refused(home):
    with Outbox(home) as outbox:
        file = outbox.file
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(SightlineError, match="newer Sightline"):
        Outbox(home)


def test_a_damaged_file_is_told(home):
    file = home.data / "alerts" / "outbox.db"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no database at all, but a text of some length" * 50)
    with pytest.raises(SightlineError, match="the outbox cannot be used"):
        enqueue(home, [fact(1)])
