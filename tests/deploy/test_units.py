"""The units and the image of `deploy/`: systemd reads them, their commands exist, and nothing in them is a secret."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.support.units import DEPLOY, UNITS, command_of, environment_example, settings_of

HARDENED = {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "Restart": "on-failure", "User": "sightline"}
ROOT = DEPLOY.parent


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_hardened_and_its_variables_are_in_the_example(unit):
    settings = settings_of(unit)
    assert {name: settings[name] for name in HARDENED} == HARDENED
    assert settings["EnvironmentFile"] == "/etc/sightline/environment"
    used = set(re.findall(r"\$\{(\w+)\}", settings["ExecStart"]))
    assert used <= environment_example().keys()


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_reads_it(unit, tmp_path):
    if shutil.which("systemd-analyze") is None:
        assert settings_of(unit)["ExecStart"].startswith("/opt/sightline/bin/")
        return
    copy = tmp_path / f"sightline-{unit}.service"
    text = (DEPLOY / "systemd" / copy.name).read_text()
    program = command_of(unit, environment_example())[0]
    copy.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={program}", text, flags=re.MULTILINE))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False, timeout=60
    )
    about = [line for line in (done.stdout + done.stderr).splitlines() if copy.name in line]
    assert about == []


@pytest.mark.parametrize("unit", UNITS)
def test_its_command_and_options_exist(unit):
    command = command_of(unit, environment_example())
    options = [word for word in command if word.startswith("--")]
    first = next((i for i, word in enumerate(command) if word.startswith("-")), len(command))
    done = subprocess.run([*command[:first], "--help"], capture_output=True, text=True, check=True, timeout=120)
    told = set(re.findall(r"(?<!\S)--[\w-]+", done.stdout))
    assert set(options) <= told


def test_the_image_has_no_registry_no_root_and_only_files_that_exist():
    text = (DEPLOY / "Containerfile").read_text()
    base = re.search(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert base is not None
    assert "/" not in base[1]
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE}"}
    assert not re.search(r"https?://", text)
    assert re.search(r"^USER 10001", text, re.MULTILINE)
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line]
    for name in (name for names in copied for name in names if not name.startswith("--")):
        assert (ROOT / name).exists(), name


def test_the_settings_hold_no_secret():
    settings = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    assert settings["storage"]["custom"]["config"]["postgres_url"] == {"env": "SIGHTLINE_POSTGRES_URL"}
    assert settings["telemetry"] == {"enabled": False}
