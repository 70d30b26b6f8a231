"""MLflow by its REST interface (tested with the server of MLflow 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import quote

from sightline.registries.http import Server
from sightline.registries.protocol import Registered, RegistryError, VerdictNote

API, PROXY = "/api/2.0/mlflow", "/api/2.0/mlflow-artifacts/artifacts"
MOST_VERSIONS, MOST_FILES = 100, 64
MAX_BYTES = 512 * 1024 * 1024
"""Of one evaluation set."""
MAX_TAG_CHARACTERS = 1000
SUFFIXES = (".parquet", ".pq", ".csv", ".ndjson", ".jsonl")
PROXIED = "mlflow-artifacts:"
BEFORE, NOBODY = "sightline.alias_before", "nobody"
"""Tag of a version to which Sightline gave an alias: who had it."""


class MLflow:
    """One registered model.

    Parameters
    ----------
    server : Server
        The tracking server.
    model : str
        Name of the registered model.
    artifact : str
        Folder (or file) among the artifacts of a version's run that holds its evaluation set.
    passed_alias : str, optional
        Set on a version that passes; goes back where it came from when that version is found inferior later.
    """

    def __init__(self, server: Server, model: str, artifact: str, passed_alias: str | None = None) -> None:
        self._server, self._model, self._passed_alias = server, model, passed_alias
        self._artifact = artifact.strip("/")

    def versions(self) -> Sequence[Registered]:
        """The newest versions, newest first."""
        aliases: dict[str, list[str]] = {}
        for alias, version in self._holders().items():
            aliases.setdefault(version, []).append(alias)
        mark = '"' if "'" in self._model else "'"  # MLflow knows no escape
        query = {"filter": f"name={mark}{self._model}{mark}", "max_results": str(MOST_VERSIONS)}
        query["order_by"] = "version_number DESC"
        found = _objects(self._server.get(f"{API}/model-versions/search", query).get("model_versions"))
        versions = [_version(each, aliases) for each in found]
        return sorted(versions, key=lambda each: int(each.version) if each.version.isdigit() else 0, reverse=True)

    def evaluation_set(self, version: Registered, folder: Path) -> Sequence[Path]:
        """Fetch the files of the run's artifact folder through the server's proxy."""
        if not version.run:
            return []
        run = _object(self._server.get(f"{API}/runs/get", {"run_id": version.run}), "run")
        root = str(_object(run, "info").get("artifact_uri", ""))
        files = self._files(version.run)
        if not files:
            return []
        if not root.startswith(PROXIED):
            raise RegistryError(
                f"the artifacts of version {version.version} lie at {root}, which the server does not hand out",
                fix="start it with --serve-artifacts, or put the set into landing/candidates/<version>/",
            )
        if sum(size for _, size in files) > MAX_BYTES:
            raise RegistryError(f"the evaluation set of version {version.version} is larger than {MAX_BYTES:,} bytes")
        base = root[len(PROXIED) :].lstrip("/").partition("?")[0]
        written: list[Path] = []
        for path, _ in files:
            file = folder / PurePosixPath(path).name
            self._server.download(f"{PROXY}/{quote(f'{base}/{path}')}", file, MAX_BYTES)
            written.append(file)
        return written

    def write_verdict(self, version: Registered, verdict: VerdictNote) -> None:
        """Tags ``sightline.*`` on the version, and the alias if one is configured.

        It is given to a version that passed, and taken back from one that is found inferior later.
        """
        tags = {
            "sightline.verdict": verdict.outcome,
            "sightline.reason": verdict.reason[:MAX_TAG_CHARACTERS],
            "sightline.page": verdict.page,
            "sightline.evaluated_at": verdict.evaluated_at,  # last: what is there with it is all there
        }
        for key, value in tags.items():
            if version.tags.get(key, "") != value:
                self._tag(version.version, key, value)
        if self._passed_alias is None:
            return
        if verdict.may_promote and self._passed_alias not in version.aliases:
            self._give_alias(version, self._passed_alias)
        elif verdict.outcome == "inferior" and self._passed_alias in version.aliases and version.tags.get(BEFORE):
            self._take_alias_back(version, self._passed_alias)

    def _give_alias(self, version: Registered, alias: str) -> None:
        """Set it on a version, which notes the one that had it."""
        self._tag(version.version, BEFORE, self._holders().get(alias, NOBODY))
        self._set_alias(version.version, alias)

    def _take_alias_back(self, version: Registered, alias: str) -> None:
        """Give it to the version that had it, if that still is there; else nobody has it.

        Only an alias that Sightline set is taken: one that a person gave has no note of who had it before.
        """
        before = version.tags[BEFORE]
        if before in {each.version for each in self.versions()}:
            self._set_alias(before, alias)
        else:
            self._server.delete(f"{API}/registered-models/alias", {"name": self._model, "alias": alias})
        self._tag(version.version, BEFORE, "")

    def _set_alias(self, version: str, alias: str) -> None:
        content = {"name": self._model, "version": version, "alias": alias}
        self._server.post(f"{API}/registered-models/alias", content)

    def _tag(self, version: str, key: str, value: str) -> None:
        content = {"name": self._model, "version": version, "key": key, "value": value}
        self._server.post(f"{API}/model-versions/set-tag", content)

    def _holders(self) -> dict[str, str]:
        """Alias -> version that has it now."""
        model = _object(self._server.get(f"{API}/registered-models/get", {"name": self._model}), "registered_model")
        return {str(each.get("alias")): str(each.get("version")) for each in _objects(model.get("aliases"))}

    def _files(self, run: str) -> list[tuple[str, int]]:
        """Paths and sizes of the files of the set, by name."""
        listed = self._server.get(f"{API}/artifacts/list", {"run_id": run, "path": self._artifact})
        files = _objects(listed.get("files"))
        if not files and self._artifact.endswith(SUFFIXES):  # a file, not a folder
            parent = str(PurePosixPath(self._artifact).parent)
            query = {"run_id": run} | ({} if parent == "." else {"path": parent})
            files = [
                each
                for each in _objects(self._server.get(f"{API}/artifacts/list", query).get("files"))
                if each.get("path") == self._artifact
            ]
        found: list[tuple[str, int]] = []
        for each in files:
            path = str(each.get("path", ""))
            is_odd = path.startswith("/") or ".." in PurePosixPath(path).parts or PurePosixPath(path).name[:1] in "._"
            if not each.get("is_dir") and path.lower().endswith(SUFFIXES) and not is_odd:
                found.append((path, int(each.get("file_size") or 0)))
        if len(found) > MOST_FILES:
            raise RegistryError(f"the evaluation set has {len(found)} files, at most {MOST_FILES} are fetched")
        return sorted(found)


def _version(each: dict[str, Any], aliases: dict[str, list[str]]) -> Registered:
    version = str(each.get("version"))
    tags = {str(tag.get("key")): str(tag.get("value", "")) for tag in _objects(each.get("tags"))}
    created = float(each.get("creation_timestamp") or 0) / 1000
    is_ready = each.get("status", "READY") == "READY"
    return Registered(version, created, tuple(aliases.get(version, ())), tags, str(each.get("run_id") or ""), is_ready)


def _object(found: dict[str, Any], name: str) -> dict[str, Any]:
    value = found.get(name)
    if not isinstance(value, dict):
        raise RegistryError(f"the answer has no {name}: is this an MLflow server?")
    return cast("dict[str, Any]", value)


def _objects(found: Any) -> Iterable[dict[str, Any]]:
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in cast("list[Any]", found)):
        raise RegistryError("the answer holds no list of objects: is this an MLflow server?")
    return cast("list[dict[str, Any]]", found)
