"""Delivery against a real HTTP and a real SMTP server, which go down, and senders that are killed at every step."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller

from sightline.alerts.outbox import Outbox, enqueue
from tests.support.outbox import Receiver, fact, make_home, webhook_routes
from tests.support.outbox_sender import STEPS

pytestmark = [pytest.mark.e2e, pytest.mark.long]
ROOT = Path(__file__).resolve().parents[2]
SENDER = ROOT / "tests" / "support" / "outbox_sender.py"


def start_sender(home, step="none", n=0, changes=0):
    arguments = [sys.executable, str(SENDER), str(home.root), step, str(n), str(changes)]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(arguments, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL, cwd=ROOT)


def end(process):
    process.kill()
    process.wait(30)


def be_due(home):
    """Let what waits for its next try be due now: the pauses are tested elsewhere."""
    with Outbox(home) as outbox, outbox._transaction():
        outbox._db.execute("UPDATE deliveries SET due_at = 0 WHERE state = 'failed'")
        outbox._db.execute("DELETE FROM channels")


def until(condition, home=None, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happens any more"
        if home is not None:
            be_due(home)
        time.sleep(0.1)


def let_pass(seconds):
    """Let the senders work on."""
    deadline = time.monotonic() + seconds
    until(lambda: time.monotonic() > deadline)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def is_done(home, n):
    with Outbox(home) as outbox:
        return outbox.counts()["sent"] == n


@pytest.mark.parametrize("step", STEPS)
def test_a_sender_killed_at_a_step_tells_each_change_once(tmp_path, step):
    """The n-th time it comes to the step, for every n until it survives; then another one ends the work."""
    answers = random.Random(STEPS.index(step))
    with Receiver(lambda n, changes: answers.choice([(200, True), (200, True), (500, False)])) as receiver:
        home = make_home(tmp_path, webhook_routes(receiver.url))
        changes, killed = [fact(n) for n in range(6)], 0
        for n in range(1, 7):
            process = start_sender(home, step, n, len(changes))
            until(lambda p=process: p.poll() is not None or is_done(home, 6), home)
            if process.poll() is None:
                end(process)
                break
            assert process.returncode == -signal.SIGKILL
            killed += 1
        assert killed > 0
        process = start_sender(home, changes=len(changes))
        until(lambda: is_done(home, 6), home)
        end(process)
        assert receiver.taken == {change.id: 1 for change in changes}
        if step in ("before sent", "after reach"):
            assert sum(receiver.seen.values()) > 6  # it arrived before the kill, and again under its old key
    with Outbox(home) as outbox:
        assert outbox.counts()["sent"] == 6


def test_two_senders_killed_at_random_while_the_receiver_goes_down(tmp_path):
    rng = random.Random(20)
    port = free_port()
    home = make_home(tmp_path, webhook_routes(f"http://127.0.0.1:{port}/hook"))
    statuses = [(200, True)] * 6 + [(500, False), (503, False), (0, False), (0, True), (302, False), (429, False)]
    total, seen, keys = Counter(), Counter(), Counter()
    receiver, senders, told = None, [start_sender(home) for _ in range(2)], 0
    for _ in range(40):
        if receiver is None and rng.random() < 0.8:
            receiver = Receiver(lambda n, changes: rng.choice(statuses), port=port)
            receiver.taken, receiver.seen, receiver.keys = total, seen, keys
        elif receiver is not None and rng.random() < 0.2:
            receiver.close()
            receiver = None
        n = rng.choice([1, 1, 2, 2, 3, 30])
        enqueue(home, [fact(k) for k in range(told, told + n)])
        told += n
        k = rng.randrange(2)
        if rng.random() < 0.6:
            end(senders[k])
            senders[k] = start_sender(home)
        for _ in range(3):
            be_due(home)
            let_pass(rng.random() / 2)
    if receiver is None:
        receiver = Receiver(port=port)
        receiver.taken, receiver.seen, receiver.keys = total, seen, keys
    receiver._answer = lambda n, changes: (200, True)
    until(lambda: is_done(home, told), home, 180.0)
    for process in senders:
        end(process)
    receiver.close()
    assert total == {fact(k).id: 1 for k in range(told)}
    assert sum(keys.values()) > len(keys)  # some arrived before a kill or a lost answer, and again under their old key
    print(f"{told} changes, {sum(seen.values())} arrivals, {sum(keys.values())} messages taken under {len(keys)} keys")


class Mailbox:
    """What a real SMTP server took."""

    def __init__(self):
        self.messages: list[str] = []
        self.is_angry = False

    async def handle_DATA(self, server, session, envelope):
        if self.is_angry:
            return "451 try again later"
        self.messages.append(envelope.content.decode())
        return "250 OK"


def test_mail_arrives_at_least_once_whatever_goes_down(tmp_path, monkeypatch):
    rng, port, box = random.Random(4), free_port(), Mailbox()
    monkeypatch.setenv("MAIL_URL", f"mailto://127.0.0.1:{port}/?from=sightline@example.com&to=team@example.com")
    home = make_home(tmp_path, "channels: {mail: {kind: apprise, url: env:MAIL_URL}}\nroutes: [{to: mail}]")
    changes = [fact(f"mail-{n}") for n in range(8)]
    sender, server = start_sender(home), None
    for change in changes:
        if server is None:
            server = Controller(box, hostname="127.0.0.1", port=port)
            server.start()
        elif rng.random() < 0.4:
            server.stop()
            server = None
        box.is_angry = rng.random() < 0.3
        enqueue(home, [change])
        be_due(home)
        let_pass(2 * rng.random())
        if rng.random() < 0.6:
            end(sender)
            sender = start_sender(home)
    if server is None:
        server = Controller(box, hostname="127.0.0.1", port=port)
        server.start()
    box.is_angry = False
    until(lambda: is_done(home, 8), home, 180.0)
    end(sender)
    server.stop()
    arrived = Counter(found for text in box.messages for found in set(re.findall(r"the run (mail-\d)", text)))
    print(f"8 changes, {len(box.messages)} mails, {sum(arrived.values())} arrivals")
    assert set(arrived) == {f"mail-{n}" for n in range(8)}


def test_two_senders_at_once_send_nothing_twice(tmp_path):
    """Without kills not even a receiver that knows no keys sees a change again."""
    with Receiver() as receiver:
        home = make_home(tmp_path, webhook_routes(receiver.url))
        senders = [start_sender(home) for _ in range(3)]
        for n in range(60):
            enqueue(home, [fact(n)])
        until(lambda: is_done(home, 60))
        for process in senders:
            end(process)
        assert receiver.seen == {fact(n).id: 1 for n in range(60)}
