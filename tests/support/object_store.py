"""An S3-compatible store on loopback: moto's server in a process of its own, so that it can be stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3

from tests.support.postgres import free_port

ACCESS, SECRET = "AKIASIGHTLINE", "s3cret/of+the~store"


@dataclass
class Store:
    """A running store."""

    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def section(self) -> dict[str, str]:
        """What a monitor's file says of it."""
        return {"endpoint": self.endpoint, "access_key_env": "STORE_KEY", "secret_key_env": "STORE_SECRET"}

    @property
    def options(self) -> dict[str, str]:
        """The same for writers of tables."""
        return {
            **{"AWS_ENDPOINT_URL": self.endpoint, "AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET},
            **{"AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true", "aws_conditional_put": "etag"},
        }

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=ACCESS,
            aws_secret_access_key=SECRET,
        )

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(self.endpoint, timeout=2):
                    return
            except OSError:
                assert time.monotonic() < deadline
                assert self.process.poll() is None
                time.sleep(0.1)

    def stop(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def freeze(self, signum: int = signal.SIGSTOP) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signum)


@contextmanager
def running() -> Iterator[Store]:
    """A store, gone afterwards."""
    found = Store(free_port())
    found.start()
    try:
        yield found
    finally:
        found.freeze(signal.SIGCONT)
        found.stop()
