"""`sightline init`: a monitor file from a sample of predictions, with every assumption written beside it."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from sightline.errors import SightlineError
from sightline.home import Home
from sightline.spec.field_types import ID_PATTERN
from sightline.spec.infer import Draft, infer_monitor
from sightline.spec.kinds import Inferred, format_of, read_sample
from sightline.spec.loader import load_monitor
from sightline.spec.names import slug
from sightline.spec.schema import SCHEMA_LINE, write_schema

ROLE_OPTIONS = ("prediction_id", "timestamp", "score", "prediction", "label", "model_version", "entity_id", "query_id")
COLUMN_ROLES = (
    "prediction_id", "timestamp", "score", "prediction", "model_version", "entity_id", "query_id", "status",
    "latency_ms", "weight",
)  # fmt: skip


def _role_options(function: Callable[..., None]) -> Callable[..., None]:
    for role in reversed(ROLE_OPTIONS):
        text = f"Column with the {role.replace('_', ' ')}; default: told from names and values."
        function = click.option(f"--{role.replace('_', '-')}", role, metavar="COLUMN", help=text)(function)
    return function


@click.command()
@click.argument("sample", type=click.Path(path_type=Path))
@click.option("--id", "monitor_id", help="Id of the monitor; default: from the sample's file name.")
@click.option("--task", help="binary_classification, multiclass_classification, regression, ranking, text_generation.")
@click.option("--owner", help="E-mail address or team:name.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--no-label", is_flag=True, help="No column of the sample is the label.")
@_role_options
def command(
    sample: Path,
    monitor_id: str | None,
    task: str | None,
    owner: str | None,
    force: bool,
    no_label: bool,
    **given: str | None,
) -> None:
    """Write monitors/ID.yaml from SAMPLE (Parquet, CSV or NDJSON; or a folder of such files).

    SAMPLE holds the model's inputs and output, and perhaps the label.
    """
    home = Home.from_env()
    monitor_id = monitor_id or _id_from(sample)
    if not re.fullmatch(ID_PATTERN, monitor_id):
        fix = "use lower-case letters, digits and underscores, starting with a letter (at most 63)"
        raise SightlineError(f"{monitor_id!r} is no monitor id", fix=fix)
    path = home.monitors / f"{monitor_id}.yaml"
    if path.exists() and not force:
        fix = "choose another --id, or overwrite it with --force"
        raise SightlineError("the monitor file exists already", where=str(path), fix=fix)
    if no_label and given["label"] is not None:
        raise SightlineError("--label and --no-label are both given", fix="keep one of them")
    draft = infer_monitor(
        read_sample(sample),
        task=task,
        given={role: column for role, column in given.items() if column is not None},
        has_label=not no_label,
    )
    _require_predictions(sample, draft)
    text = render(draft, monitor_id, owner, _reference_path(sample, home))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".init-", dir=path.parent) as folder:
        draft_path = Path(folder) / path.name
        draft_path.write_text(text, encoding="utf-8")
        load_monitor(draft_path, home=home)
        draft_path.replace(path)
    write_schema(home.root / "schemas")
    click.echo("\n".join(_report(draft, path, monitor_id, home)))


def _require_predictions(sample: Path, draft: Draft) -> None:
    """Refuse a folder in which some files are none of predictions, such as those of labels."""
    if not sample.is_dir():
        return
    files = sorted(file for file in sample.rglob("*") if format_of(file.name) and file.is_file())
    columns = {file: set(read_sample(file, rows=1).columns) for file in files}
    roles = [draft.roles.get(role) for role in ("prediction_id", "timestamp", "score", "prediction")]
    needed = [name for name in (*roles, *draft.class_scores.values()) if name in set[str]().union(*columns.values())]
    lacking = {file: [name for name in needed if name not in held] for file, held in columns.items()}
    told = [
        f"{file.relative_to(sample)} has no {' and no '.join(map(repr, names))}"
        for file, names in lacking.items()
        if names
    ]
    if told:
        more = f" and {len(told) - 3} others" if len(told) > 3 else ""
        raise SightlineError(
            f"{len(told)} of {len(files)} files are no files of predictions: {'; '.join(told[:3])}{more}",
            where=str(sample),
            fix="give a file or folder of predictions alone; files of labels have a landing folder of their own",
        )


def _id_from(sample: Path) -> str:
    name = slug(sample.stem) or "my_model"
    return name if re.match(r"[a-z]", name) else f"model_{name}"


def _reference_path(sample: Path, home: Home) -> str:
    resolved = sample.resolve()
    return str(resolved.relative_to(home.root)) if resolved.is_relative_to(home.root) else str(resolved)


def quote(text: str) -> str:
    """A YAML value or key: plain where that is safe, else in double quotes (JSON is YAML)."""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_ ./-]*(?<! )", text) and text.lower() not in (
        "true", "false", "null", "yes", "no", "on", "off", "y", "n",
    )  # fmt: skip
    return text if plain else json.dumps(text, ensure_ascii=False)


def render(draft: Draft, monitor_id: str, owner: str | None, reference: str) -> str:
    """The text of the monitor file; each line tells in a comment why it is there and how to change it."""
    return "\n".join([*_head(draft, monitor_id, owner), *_columns(draft), *_rest(draft, reference)]) + "\n"


def _line(text: str, comment: str) -> str:
    return f"{text:<44} # {comment}"


def _head(draft: Draft, monitor_id: str, owner: str | None) -> Iterator[str]:
    yield SCHEMA_LINE
    yield "# Every key: docs/spec.md. What this file creates: sightline validate"
    yield "version: 1"
    yield "model:"
    yield f"  id: {monitor_id}"
    yield _line(f"  task: {draft.task}", f"assumed: {draft.task_reason}")
    yield (
        f"  owner: {quote(owner)}"
        if owner
        else _line("  # owner: team:name", "or an e-mail address: who answers for it")
    )


def _columns(draft: Draft) -> Iterator[str]:
    yield "columns:"
    for role in COLUMN_ROLES:
        if role in draft.roles:
            yield _line(f"  {role}: {quote(draft.roles[role])}", f"assumed: {draft.reasons[role]}")
    if draft.class_scores:
        yield _line("  class_scores:", f"assumed: {draft.reasons['class_scores']}")
        for name, column in draft.class_scores.items():
            yield f"    {quote(name)}: {quote(column)}"
    if draft.llm:
        yield _line("  llm:", "assumed by their names; more of it: docs/llm.md")
        for role, column in draft.llm.items():
            yield f"    {role}: {quote(column)}"
    if draft.features:
        yield _line(
            "  features:", "numeric, categorical, boolean, datetime, text or embedding; remove what is no input"
        )
    for name, inferred in draft.features.items():
        yield _line(f"    {quote(name)}: {_kind(inferred)}", inferred.reason)
    for name, reason in draft.left_out.items():
        yield _line(f"    # {quote(name)}", f"left out: {reason}")
    segments = ", ".join(map(quote, draft.segments))
    if segments:
        yield _line(f"  segments: [{segments}]", "quality and drift are also reported by these")


def _kind(inferred: Inferred) -> str:
    """A feature's kind; of texts also what describes them, with the language where the package for it is there."""
    if inferred.kind != "text":
        return str(inferred.kind)
    from metrics_py.text.descriptors import DEFAULTS, DESCRIPTORS  # only samples with texts pay for it

    language = ("language",) if DESCRIPTORS["language"].is_available else ()
    return f"{{kind: text, descriptors: [{', '.join((*DEFAULTS, *language))}]}}"


def _rest(draft: Draft, reference: str) -> Iterator[str]:
    label = draft.roles.get("label")
    yield (
        "labels:"
        if label
        else "# labels:                                  # no label in the sample: fill in when labels exist"
    )
    hash_ = "" if label else "# "
    yield _line(f"{hash_}  column: {quote(label or 'label')}", "column of the label files (with the id)")
    if draft.observed_at:
        yield _line(f"{hash_}  observed_at: {quote(draft.observed_at)}", "assumed by its name: when it was known")
    if draft.task == "binary_classification":
        yield _line(f"{hash_}  positive: {_value(draft.positive)}", "the value that counts as positive")
        if draft.negative is not None:
            yield _line(f"{hash_}  negative: {_value(draft.negative)}", "the other one; what is neither is refused")
    if draft.task == "text_generation" and not label:
        yield _line("#   feedback: thumbs", "or a range of ratings: [1, 5]; left out: any number, the score of a judge")
    if draft.feedback:
        yield _line(f"{hash_}  feedback: {draft.feedback}", "assumed from its values: thumbs, or a range of ratings")
    if draft.classes:
        named = ", ".join(map(quote, draft.classes))
        yield _line(f"{hash_}  classes: [{named}]", "all classes: add what the sample lacks; other labels are refused")
    yield _line(f"{hash_}  # expected_delay: 1d", "when labels are due, after a window's end; left out: learnt")
    yield _line(f"{hash_}  # give_up_after: 30d", "labels later than this are not waited for; left out: learnt")
    if draft.task == "ranking":
        yield _line(f"{hash_}  # silence: negative", "where only clicks are reported: no label is irrelevant then")
    yield _line("reference:", "what production is compared with; also: {kind: window, start: ..., end: ...}")
    yield "  kind: file"
    yield _line(f"  path: {quote(reference)}", "the sample: better rows the model was not trained on")
    yield _line(f"start: {draft.first}", "first day to be monitored (UTC): the sample's first")
    yield _line(f"schedule: {draft.schedule}", "hourly, daily or weekly windows")
    yield "alerts:"
    yield _line("  budget: 1 per 90d", "false incidents at most, over everything watched here")


def _value(value: object) -> str:
    """A class as YAML."""
    return quote(value) if isinstance(value, str) else str(value).lower()


def _report(draft: Draft, path: Path, monitor_id: str, home: Home) -> Iterator[str]:
    yield f"wrote {path}"
    yield f"  task {draft.task}: {draft.task_reason}   (--task)"
    for role, column in draft.roles.items():
        option = f"   (--{role.replace('_', '-')} COLUMN)" if role in ROLE_OPTIONS else "   (edit the file)"
        yield f"  {role} = {column!r}: {draft.reasons[role]}{option}"
    if draft.observed_at:
        yield f"  labels.observed_at = {draft.observed_at!r}: by its name   (edit the file)"
    if draft.class_scores:
        yield f"  class_scores = {', '.join(draft.class_scores.values())}: {draft.reasons['class_scores']}"
    if draft.llm:
        yield f"  llm = {', '.join(f'{role}: {column}' for role, column in draft.llm.items())}: by their names"
    yield f"  {len(draft.features)} features: " + ", ".join(f"{n} ({i.kind})" for n, i in draft.features.items())
    for name, reason in draft.left_out.items():
        yield f"  left out {name!r}: {reason}"
    if "label" not in draft.roles:
        yield "  no label found: realised quality needs a section `labels` (a commented one is in the file)"
    for note in draft.notes:
        yield f"  note: {note}"
    yield f"  reference: this sample ({draft.first} to {draft.last}); better rows the model was not trained on"
    yield "next:"
    yield f"  sightline validate {monitor_id}"
    yield f"  put files of predictions into {home.monitor(monitor_id).landing_inferences}"
    if "label" in draft.roles:
        yield f"  put files of labels into {home.monitor(monitor_id).landing_labels}"
    yield "  sightline ui"
