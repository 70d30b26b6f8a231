"""A broker on loopback: the mock cluster that librdkafka carries; it lives as long as the client that holds it.

Run as a script it holds one until its input ends, and says its address.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Producer


@dataclass
class Broker:
    """A running broker in a process of its own, and a producer."""

    address: str
    process: subprocess.Popen[bytes]

    def send(self, topic: str, *messages: tuple[int, bytes | None, bytes | None]) -> None:
        """Messages of partition, key and value, acknowledged on return."""
        producer = Producer({"bootstrap.servers": self.address, "linger.ms": 1})
        for partition, key, value in messages:
            producer.produce(topic, key=key, value=value, partition=partition)
        assert producer.flush(30) == 0


@contextmanager
def running() -> Iterator[Broker]:
    """A broker, gone afterwards."""
    command = [sys.executable, "-m", "tests.support.kafka"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        yield Broker(process.stdout.readline().decode().strip(), process)
    finally:
        process.kill()
        process.wait()


def main() -> None:
    """Hold a broker."""
    producer: Any = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": ""})
    brokers = producer.list_topics(timeout=10).brokers.values()
    print(",".join(f"{broker.host}:{broker.port}" for broker in brokers), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
