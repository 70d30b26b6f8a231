"""`sightline token`: make, list, revoke, and open a monitor again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner

from sightline.collector.auth import TokenFile, read_tokens, tokens_path
from sightline.commands import token
from tests.support.collector_site import make_home


def test_a_monitor_is_opened_only_on_demand(tmp_path: Path) -> None:
    home = make_home(tmp_path)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(token.command, arguments, env={"SIGHTLINE_HOME": str(tmp_path)})

    first, second = (run("create", "m").output.strip().split("_")[1] for _ in range(2))
    tokens = TokenFile(home.monitor("m"))
    assert first in run("list", "m").output and tokens.is_closed
    result = run("revoke", "m", first, "--open")
    assert result.exit_code and "has tokens" in str(result.exception) and second in str(result.exception)
    assert "no token is left: nobody may write to m" in run("revoke", "m", second).output
    tokens.reload()
    assert tokens.is_closed
    assert run("revoke", "m").exit_code == 2
    assert "open to everybody on this machine" in run("revoke", "m", "--open").output
    tokens.reload()
    assert not tokens.is_closed and not tokens_path(home.monitor("m")).exists()
    missing = run("revoke", "m", "absent")
    assert missing.exit_code and "no token 'absent'" in str(missing.exception)


def test_a_token_is_for_one_purpose(tmp_path: Path) -> None:
    home = make_home(tmp_path)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(token.command, arguments, env={"SIGHTLINE_HOME": str(tmp_path)})

    assert run("create", "m", "--for", "act").exit_code, "nobody is named"
    made = run("create", "m", "--for", "act", "--note", "ann")
    assert made.stdout.startswith("slt_") and "logging to m needs a token as well" in made.stderr
    for purpose in ("log", "read"):
        assert run("create", "m", "--for", purpose).stderr == ""
    assert run("create", "m").exit_code == 0 and run("create", "m", "--scope", "replay").exit_code == 0
    assert run("create", "m", "--for", "log", "--scope", "act").exit_code == 2
    assert [record.scope for record in read_tokens(home.monitor("m"))] == ["act", "write", "read", "write", "replay"]
