"""Build the wheels, install them in an empty environment, use the commands in an empty folder (`make wheel-check`)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[1]
SAMPLE = "prediction_id,timestamp,score,amount,country,label\n" + "".join(
    f"p{i},2026-01-{1 + i % 28:02d} 10:00:00,0.{i % 10}5,{i * 1.5},{'DE' if i % 3 else 'FR'},{i % 2}\n"
    for i in range(200)
)


def run(*command: str, cwd: Path, env: dict[str, str]) -> str:
    """Run one command to its end; its output is shown if it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def answers(url: str) -> bool:
    """Does a server answer at this address?"""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def check_ui(binary: Path, home: Path, env: dict[str, str]) -> None:
    """`sightline ui` serves the webserver and loads the code location."""
    port = "38917"
    server = subprocess.Popen(
        [binary, "ui", "--port", port],
        cwd=home,
        env=env,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 180
        while not answers(f"http://127.0.0.1:{port}/server_info"):
            if server.poll() is not None or time.monotonic() > deadline:
                os.killpg(server.pid, signal.SIGKILL)
                sys.exit(f"sightline ui did not come up:\n{server.stdout.read() if server.stdout else ''}")
            time.sleep(0.5)
        query = b'{"query": "{ assetNodes { assetKey { path } } }"}'
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/graphql", query, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            text = response.read().decode()
        names = set(re.findall(r'"path": ?\["sample", ?"(\w+)"\]', text))
        missing = {"inferences", "reference", "data_quality", "drift", "column_bins"} - names
        if missing:
            sys.exit(f"the code location lacks {sorted(missing)}; it has {sorted(names)}")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=60)


def main() -> None:
    """Build, install, init, validate, compare, ui."""
    with tempfile.TemporaryDirectory(prefix="sightline-wheel-") as folder:
        base = Path(folder)
        env = {
            k: v
            for k, v in os.environ.items()
            if k not in {"PYTHONPATH", "SIGHTLINE_HOME", "DAGSTER_HOME", "VIRTUAL_ENV"}
        }
        run(
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "-w",
            str(base / "wheels"),
            str(ROOT),
            str(ROOT / "client"),
            cwd=base,
            env=env,
        )
        run(sys.executable, "-m", "venv", str(base / "venv"), cwd=base, env=env)
        wheels = [str(w) for w in sorted((base / "wheels").glob("*.whl"))]
        python = base / "venv" / "bin" / "python"
        run(str(python), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), *wheels, cwd=base, env=env)
        home = base / "empty"
        home.mkdir()
        (home / "sample.csv").write_text(SAMPLE, encoding="utf-8")
        binary = base / "venv" / "bin" / "sightline"
        run(str(binary), "init", "sample.csv", "--id", "sample", cwd=home, env=env)
        print(run(str(binary), "validate", cwd=home, env=env))
        run(str(binary), "compare", "sample.csv", "sample.csv", "--format", "json", cwd=home, env=env)
        template = "from sightline.evaluation.page import template; template()"
        run(str(python), "-c", template, cwd=home, env=env)
        check_ui(binary, home, env)
        print("wheel: init, validate, compare and ui work in an empty environment and an empty folder")


if __name__ == "__main__":
    main()
