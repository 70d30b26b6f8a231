"""Between a registry and the candidates: what is fetched, what is told, what a registry that misbehaves can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from click.testing import CliRunner

from orchestration.monitor import Monitor
from orchestration.sensors import registry_sensor
from sightline.cli import cli
from sightline.errors import SightlineError
from sightline.evaluation.landed import candidates, failures, publish, publish_failure
from sightline.evaluation.page import to_html
from sightline.evaluation.render import to_json
from sightline.registries.build import registry_of
from sightline.registries.protocol import Registered, RegistryError, VerdictNote
from sightline.registries.sync import GIVE_UP_SECONDS, LOOK_AGAIN_SECONDS, MOST, look, read_state, sync
from sightline.spec.loader import find_monitor
from tests.unit.evaluation.test_evaluate import MONITOR, NOW, production, run, scored, write_monitor  # noqa: F401

T = 1_780_000_000.0
FOLDER_REGISTRY = '''
import json
from pathlib import Path

from sightline.registries.protocol import Registered


class Folder:
    """Versions are the folders of a folder; verdicts are files beside them."""

    def __init__(self, root):
        self.root = Path(root)

    def versions(self):
        found = [Registered(f.name, f.stat().st_mtime) for f in self.root.iterdir() if f.is_dir()]
        return sorted(found, key=lambda each: each.created_at, reverse=True)

    def evaluation_set(self, version, folder):
        written = []
        for file in sorted((self.root / version.version).iterdir()):
            (folder / file.name).write_bytes(file.read_bytes())
            written.append(folder / file.name)
        return written

    def write_verdict(self, version, verdict):
        (self.root / f"{version.version}.json").write_text(json.dumps([verdict.outcome, verdict.reason, verdict.page]))


def connect(spec):
    return Folder(Path(__file__).parent / "registered")


def nothing(spec):
    return object()
'''


class Shelf:
    """A registry in memory that may fail."""

    def __init__(self, *versions: Registered) -> None:
        self.all = list(versions)
        self.sets: dict[str, bytes] = {}
        self.verdicts: list[VerdictNote] = []
        self.fetched: list[str] = []
        self.is_down = False
        self.broken: set[str] = set()

    def versions(self) -> list[Registered]:
        if self.is_down:
            raise RegistryError("the registry cannot be reached")
        return sorted(self.all, key=lambda each: -each.created_at)

    def evaluation_set(self, version: Registered, folder: Path) -> list[Path]:
        self.fetched.append(version.version)
        if version.version not in self.sets:
            return []
        (folder / "a.parquet").write_bytes(self.sets[version.version])
        if version.version in self.broken:
            raise RegistryError("the answer broke off")
        return [folder / "a.parquet"]

    def write_verdict(self, version: Registered, verdict: VerdictNote) -> None:
        if self.is_down:
            raise RegistryError("the registry cannot be reached")
        self.verdicts.append(verdict)


@pytest.fixture
def linked(production):  # noqa: F811 (a fixture)
    home, paths = production
    write_monitor(home, {**MONITOR, "registry": {"url": "http://127.0.0.1:9"}})
    return find_monitor(home, "m"), home, paths


def at(version: str, seconds: float, **more: Any) -> Registered:
    return Registered(version, T + seconds, run=f"run-{version}", **more)


def landed(paths) -> list[str]:
    return [each.version for each in candidates(paths)[0]]


def test_the_newest_version_and_all_later_ones_land_once(linked):
    spec, _, paths = linked
    shelf = Shelf(at("1", 0), at("2", 10))
    shelf.sets = dict.fromkeys("1234", b"PAR1")
    assert sync(spec, paths, shelf, T) == ["version 2: 1 file landed"]
    assert landed(paths) == ["2"]
    assert sync(spec, paths, shelf, T) == []
    shelf.all += [at("3", 20), at("4", 30, is_ready=False), at("../x", 40), at("a,b", 50)]
    assert sync(spec, paths, shelf, T) == ["version 3: 1 file landed"]
    assert (landed(paths), shelf.fetched) == (["2", "3"], ["2", "3"])
    assert not list((paths.landing_candidates / ".registry").iterdir())


def test_only_versions_with_the_alias_are_candidates_where_one_is_named(linked):
    _, home, paths = linked
    write_monitor(home, {**MONITOR, "registry": {"url": "http://127.0.0.1:9", "candidate_alias": "challenger"}})
    spec = find_monitor(home, "m")
    shelf = Shelf(at("1", 0, aliases=("challenger",)), at("2", 10))
    shelf.sets = {"1": b"PAR1", "2": b"PAR1"}
    sync(spec, paths, shelf, T)
    assert landed(paths) == ["1"]


def test_a_set_that_was_put_there_by_hand_is_not_replaced(linked):
    spec, _, paths = linked
    folder = paths.landing_candidates / "1"
    folder.mkdir(parents=True)
    (folder / "mine.parquet").write_bytes(b"PAR1 mine")
    shelf = Shelf(at("1", 0))
    shelf.sets = {"1": b"PAR1"}
    assert sync(spec, paths, shelf, T) == []
    assert [file.name for file in folder.iterdir()] == ["mine.parquet"]


def test_a_version_without_a_set_is_told_once_and_looked_at_again_until_there_is_one(linked):
    spec, _, paths = linked
    shelf = Shelf(at("1", 0))
    told = sync(spec, paths, shelf, T)
    assert told == ["version 1: no evaluation set", "version 1: verdict cannot tell written back"]
    assert "landing/candidates/1/" in shelf.verdicts[0].reason
    assert sync(spec, paths, shelf, T + 60) == []
    assert sync(spec, paths, shelf, T + LOOK_AGAIN_SECONDS) == ["version 1: no evaluation set"]
    assert len(shelf.verdicts) == 1
    assert look(spec, paths, shelf.versions(), T + GIVE_UP_SECONDS).fetch == ()
    shelf.sets["1"] = b"PAR1"
    assert sync(spec, paths, shelf, T + 2 * LOOK_AGAIN_SECONDS) == ["version 1: 1 file landed"]
    assert landed(paths) == ["1"]


def test_a_set_that_breaks_off_lands_nothing_and_stops_no_other(linked):
    spec, _, paths = linked
    sync(spec, paths, Shelf(at("1", 0)), T)
    shelf = Shelf(at("2", 1), at("3", 2))
    shelf.sets, shelf.broken = {"2": b"PAR1", "3": b"PAR1"}, {"3"}
    with pytest.raises(RegistryError, match="broke off"):
        sync(spec, paths, shelf, T)
    assert landed(paths) == ["2"]
    shelf.broken = set()
    assert sync(spec, paths, shelf, T) == ["version 3: 1 file landed"]


def test_verdicts_are_written_back_once_each_and_again_after_another_evaluation(linked, tmp_path):
    spec, home, paths = linked
    shelf = Shelf(at("v2", 0))
    shelf.sets["v2"] = b"PAR1"
    sync(spec, paths, shelf, T)
    found = run((home, paths), tmp_path, scored(5, 0.1))
    file = publish(paths, "v2", to_json(found), NOW)
    file.with_suffix(".html").write_text(to_html(found))
    assert sync(spec, paths, shelf, T) == ["version v2: verdict superior written back"]
    [note] = shelf.verdicts
    assert (note.outcome, note.may_promote, note.reason) == ("superior", True, found.verdict.reason)
    assert note.evaluated_at == "2026-03-06T00:00:00Z"
    assert (home.root / note.page).is_file()
    assert sync(spec, paths, shelf, T) == []
    publish_failure(paths, "v2", SightlineError("no row can be read", where="a.parquet"), NOW.replace(hour=1))
    assert len(failures(paths)) == 1
    assert sync(spec, paths, shelf, T) == ["version v2: verdict cannot tell written back"]
    assert (shelf.verdicts[-1].may_promote, shelf.verdicts[-1].reason) == (False, "a.parquet: no row can be read")


def test_a_registry_that_is_down_loses_no_verdict(linked, tmp_path):
    spec, home, paths = linked
    shelf = Shelf(at("v2", 0))
    shelf.sets["v2"] = b"PAR1"
    sync(spec, paths, shelf, T)
    publish(paths, "v2", to_json(run((home, paths), tmp_path, scored(5, 3.0))), NOW)
    shelf.is_down = True
    with pytest.raises(RegistryError, match="cannot be reached"):
        sync(spec, paths, shelf, T)
    shelf.is_down = False
    assert sync(spec, paths, shelf, T) == ["version v2: verdict inferior written back"]


def test_a_flood_of_versions_is_bounded(linked):
    spec, _, paths = linked
    sync(spec, paths, Shelf(at("0", 0)), T)
    shelf = Shelf(*(at(str(k), k) for k in range(1, 200)))
    assert len(look(spec, paths, shelf.versions(), T).fetch) == MOST


def test_a_damaged_state_is_an_error_and_no_new_start(linked):
    spec, _, paths = linked
    (paths.root / "registry.json").write_text("{")
    with pytest.raises(SightlineError, match=r"registry\.json"):
        sync(spec, paths, Shelf(at("1", 0)), T)
    assert landed(paths) == []


def own(home, function: str = "connect") -> None:
    (home.root / "my_registry.py").write_text(FOLDER_REGISTRY)
    write_monitor(home, {**MONITOR, "registry": {"kind": "python", "python": f"my_registry:{function}"}})


def test_a_registry_of_ones_own_from_the_command_line(linked, tmp_path):
    _, home, paths = linked
    own(home)
    folder = tmp_path / "registered" / "v2"
    folder.mkdir(parents=True)
    scored(5, 0.1).write_parquet(folder / "set.parquet")
    done = CliRunner().invoke(cli, ["registry", "m"], catch_exceptions=False)
    assert done.output == "version v2: 1 file landed\n"
    assert candidates(paths)[0][0].path.read_bytes() == (folder / "set.parquet").read_bytes()
    again = CliRunner().invoke(cli, ["registry", "m"], catch_exceptions=False)
    assert again.output == "nothing to do\n"


def test_what_is_no_registry_is_told(linked):
    _, home, _ = linked
    own(home, "nothing")
    with pytest.raises(SightlineError, match="has no method 'versions'"), registry_of(find_monitor(home, "m"), home):
        pass
    own(home, "absent")
    with pytest.raises(SightlineError, match="has no function 'absent'"), registry_of(find_monitor(home, "m"), home):
        pass


def test_a_secret_that_is_not_set_is_told_by_its_name(linked, monkeypatch):
    _, home, _ = linked
    monkeypatch.delenv("NO_SUCH_LOGIN", raising=False)
    write_monitor(home, {**MONITOR, "registry": {"url": "http://127.0.0.1:9", "token_env": "NO_SUCH_LOGIN"}})
    with pytest.raises(SightlineError, match="NO_SUCH_LOGIN"), registry_of(find_monitor(home, "m"), home):
        pass


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "file:///etc/passwd"}, r"m\.yaml:\d+: .* is no address"),
        ({}, "None is no address"),
        ({"url": "http://me:secret@127.0.0.1"}, "a secret does not belong into this file"),
        ({"kind": "python"}, "None names no function"),
        ({"kind": "python", "python": "nothing"}, "'nothing' names no function"),
        ({"url": "http://a", "python": "a:b"}, "belongs to `kind: python`"),
        ({"url": "http://a", "passed_alias": "x", "candidate_alias": "x"}, "would be a candidate again"),
        ({"url": "http://a", "token_env": "a b"}, "token_env"),
        ({"url": "http://a", "tokn_env": "A"}, "token_env"),
    ],
)
def test_mistakes_in_the_file_are_told_by_their_place(linked, given, said):
    _, home, _ = linked
    write_monitor(home, {**MONITOR, "registry": given})
    with pytest.raises(SightlineError, match=said):
        find_monitor(home, "m")


def test_the_sensor_asks_for_one_run_and_a_registry_that_is_down_fails_only_its_tick(linked, tmp_path):
    _, home, paths = linked
    own(home)
    folder = tmp_path / "registered" / "v2"
    folder.mkdir(parents=True)
    (folder / "set.parquet").write_bytes(b"PAR1")
    monitor = Monitor(find_monitor(home, "m"), home, {})
    job = registry_sensor.job(monitor)
    sensor = registry_sensor.build(monitor, job)
    with dg.DagsterInstance.ephemeral() as instance:
        first = sensor(dg.build_sensor_context(instance=instance))
        assert isinstance(first, dg.SensorResult)
        [asked] = first.run_requests or []
        again = sensor(dg.build_sensor_context(instance=instance))
        assert isinstance(again, dg.SensorResult)
        [same] = again.run_requests or []
        assert str(same.run_key).partition("|")[0] == str(asked.run_key).partition("|")[0]
        assert job.execute_in_process(instance=instance).success
        assert landed(paths) == ["v2"]
        assert not sensor(dg.build_sensor_context(instance=instance)).run_requests  # pyright: ignore
        folder.rename(tmp_path / "elsewhere")
        folder.parent.rmdir()
        with pytest.raises(FileNotFoundError):
            sensor(dg.build_sensor_context(instance=instance))
    assert read_state(paths).fetched == {"v2": "-"}


def test_the_file_of_the_docs_is_a_valid_one(linked):
    _, home, _ = linked
    text = (Path(__file__).parents[3] / "docs" / "registries.md").read_text(encoding="utf-8")
    block = text.split("```yaml\n", 1)[1].split("```", 1)[0]
    write_monitor(home, {**MONITOR, **yaml.safe_load(block)})
    found = find_monitor(home, "m").registry
    assert found is not None
    assert found.passed_alias == "champion"
