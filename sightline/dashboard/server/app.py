"""The dashboard as an ASGI application: addresses, twins, errors, actions."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote

import jinja2
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from sightline.alerts.acting import Fields, check, perform
from sightline.alerts.acting import Request as Word
from sightline.alerts.listing import UnknownIncidentError
from sightline.dashboard import filters
from sightline.dashboard.custom.page import custom_page
from sightline.dashboard.library import Library, NotFoundError
from sightline.dashboard.masking import Masking
from sightline.dashboard.pages import column, health, incidents, labels, metric, monitor, overview, segments, versions
from sightline.dashboard.pages.candidates import CARD, CARD_POLICY, card_of
from sightline.dashboard.pages.page import Page, Subject, subject_of
from sightline.dashboard.pages.prometheus import exposition
from sightline.dashboard.selection import selection_of
from sightline.dashboard.server.security import COOKIE, Access, SafeHeaders
from sightline.errors import SightlineError
from sightline.home import Home

HERE = Path(__file__).parents[1]
LARGEST_FORM = 64 * 1024
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
SAID = ("acknowledge", "accept", "fixed", "assign", "note", "reopen", "merge")
logger = logging.getLogger(__name__)
Maker = Callable[[Subject, Request], Page]


@dataclass
class Settings:
    """How the dashboard is served.

    Parameters
    ----------
    home : Home
    access : Access
    dagster : str or None
        Address of Dagster's UI, for links; None: no links.
    masking : Masking
        Whose values are shown.
    """

    home: Home
    access: Access = field(default_factory=Access)
    dagster: str | None = None
    masking: Masking = field(default_factory=Masking)


PAGES: dict[str, Maker] = {
    "": lambda subject, _: monitor.monitor_page(subject),
    "columns": lambda subject, _: column.columns_page(subject),
    "column": lambda subject, request: column.column_page(subject, request.query_params.get("column", "")),
    "metric": lambda subject, request: metric.metric_page(
        subject, request.query_params.get("metric", ""), request.query_params.get("column", "")
    ),
    "segments": lambda subject, request: segments.segments_page(
        subject, request.query_params.get("metric", ""), request.query_params.get("by", "")
    ),
    "labels": lambda subject, _: labels.labels_page(subject),
    "health": lambda subject, _: health.health_page(subject),
    "versions": lambda subject, _: versions.versions_page(subject),
    "incidents": lambda subject, _: incidents.incidents_page(subject),
    "incident": lambda subject, request: incidents.incident_page(subject, request.query_params.get("incident", "")),
}
"""Last part of an address below a monitor -> its page."""


def create_app(settings: Settings) -> Starlette:
    """The application.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    Starlette
        Every page has a twin with ``.json`` after its path.
    """
    library = Library(settings.home, masking=settings.masking)
    templates = environment(settings, library)

    def of_monitor(request: Request) -> Page:
        name = request.path_params.get("page", "")
        if name not in PAGES:
            raise NotFoundError(f"there is no page {name!r}", fix=f"one of {', '.join(filter(None, PAGES))}")
        subject = subject_of(library, request.path_params["monitor"], selection_of(request.query_params))
        return PAGES[name](subject, request)

    def own_page(request: Request) -> Page:
        return custom_page(library, request.path_params["name"], selection_of(request.query_params))

    def answer(make: Callable[[Request], Page]) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            if settings.access.role(request) == "none":
                return _unknown_person(request, templates)
            as_json = request.url.path.endswith(".json")
            try:
                page = await run_in_threadpool(_made, library, make, request)
            except SightlineError as error:
                return _refused(request, templates, error, as_json=as_json)
            if as_json:
                return JSONResponse(page.as_json())
            return await run_in_threadpool(_rendered, request, templates, settings, page)

        return endpoint

    async def card(request: Request) -> Response:
        if settings.access.role(request) == "none":
            return _unknown_person(request, templates)
        try:
            text = await run_in_threadpool(_card, library, request)
        except SightlineError as error:
            return _refused(request, templates, error, as_json=False)
        return HTMLResponse(text, headers={"content-security-policy": CARD_POLICY})

    async def act(request: Request) -> Response:
        return await _act(request, settings, templates, library)

    def all_monitors(_: Request) -> Page:
        return overview.overview(library)

    async def alive(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def numbers(request: Request) -> Response:
        if settings.access.role(request) == "none":
            return PlainTextResponse("a token is needed\n", 401, {"www-authenticate": "Bearer"})
        page = await run_in_threadpool(_made, library, all_monitors, request)
        text = await run_in_threadpool(exposition, page.data["monitors"])
        return Response(text, media_type=EXPOSITION)

    async def login(request: Request) -> Response:
        return await _login(request, settings, templates)

    first = answer(all_monitors)
    pages = answer(of_monitor)
    own = answer(own_page)
    routes = [
        Route("/", first),
        Route("/index.json", first),
        Route("/healthz", alive),
        Route("/metrics", numbers),
        Route("/login", login, methods=["GET", "POST"]),
        Route("/dashboards/{name}.json", own),
        Route("/dashboards/{name}", own),
        Route("/monitors/{monitor}/say", act, methods=["POST"]),
        Route(f"/monitors/{{monitor}}/{CARD}", card),
        Route("/monitors/{monitor}.json", pages),
        Route("/monitors/{monitor}/{page}.json", pages),
        Route("/monitors/{monitor}", pages),
        Route("/monitors/{monitor}/{page}", pages),
        Mount("/static", StaticFiles(directory=HERE / "static")),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(SafeHeaders, access=settings.access)])
    app.state.library = library
    return app


def _made(library: Library, make: Callable[[Request], Page], request: Request) -> Page:
    """A page, all of it of one moment."""
    with library.together():
        return make(request)


def _card(library: Library, request: Request) -> bytes:
    """The page that was kept with an evaluation of a candidate."""
    subject = subject_of(library, request.path_params["monitor"], selection_of({}))
    return card_of(subject, request.query_params.get("of", ""))


def environment(settings: Settings, library: Library) -> jinja2.Environment:
    """Templates with everything escaped."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(filters.FILTERS)
    echarts = next((HERE / "static").glob("echarts-*.js")).name
    own: dict[str, Any] = {"dagster": settings.dagster, "echarts": echarts, "is_open": settings.access.is_open}
    own["own_pages"] = lambda: [(name, page.title) for name, page in library.dashboards().pages.items()]
    found.globals.update(own)
    return found


def _rendered(request: Request, templates: jinja2.Environment, settings: Settings, page: Page) -> Response:
    twin = f"{request.url.path.rstrip('/') or '/index'}.json"
    query = request.url.query
    context = {
        **page.as_view(),
        "twin": f"{twin}?{query}" if query else twin,
        "may_act": settings.access.role(request) == "act",
        "form_key": settings.access.form_key,
    }
    return HTMLResponse(templates.get_template(page.template).render(context), headers={"cache-control": "no-cache"})


def _refused(request: Request, templates: jinja2.Environment, error: SightlineError, *, as_json: bool) -> Response:
    status = 404 if isinstance(error, (UnknownIncidentError, NotFoundError)) else 400
    told = {"error": error.what, "where": error.where, "fix": error.fix}
    if as_json:
        return JSONResponse({name: value for name, value in told.items() if value}, status_code=status)
    title = "Not found" if status == 404 else "Cannot be shown"
    text = templates.get_template("error.html").render(title=title, **told)
    return HTMLResponse(text, status_code=status)


def _unknown_person(request: Request, templates: jinja2.Environment) -> Response:
    if request.url.path.endswith(".json"):
        fix = "send `Authorization: Bearer TOKEN`"
        return JSONResponse({"error": "a token is needed", "fix": fix}, 401, {"www-authenticate": "Bearer"})
    return RedirectResponse(f"/login?next={quote(request.url.path, safe='/')}", 303)


async def _login(request: Request, settings: Settings, templates: jinja2.Environment) -> Response:
    """A token becomes a cookie that no script reads."""
    target = request.query_params.get("next", "/")
    target = target if target.startswith("/") and not target.startswith(("//", "/\\")) else "/"
    failed = False
    if request.method == "POST":
        form = await _form(request)
        token = form.get("token", "")
        if settings.access.role_of(token) != "none":
            answer = RedirectResponse(target, 303)
            secure = request.url.scheme == "https"
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=secure, path="/")
            return answer
        failed = True
    text = templates.get_template("login.html").render(title="Token", failed=failed, next=target)
    return HTMLResponse(text, 401 if failed else 200)


async def _form(request: Request) -> dict[str, str]:
    """A small form without files; a larger body is refused before it is read."""
    length = request.headers.get("content-length", "")
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if not length.isdecimal() or int(length) > LARGEST_FORM or kind != "application/x-www-form-urlencoded":
        raise SightlineError("a form of at most 64 KiB is needed")
    try:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        raise SightlineError("the form cannot be read") from None


async def _act(request: Request, settings: Settings, templates: jinja2.Environment, library: Library) -> Response:
    """A person's word on an incident, from a form on its page."""
    address = request.url.path
    try:
        if settings.access.role(request) != "act":
            return _answered(templates, 403, "this token may look, not act")
        form = await _form(request)
        if not settings.access.is_our_form(request, address, form.get("key", "")):
            what = "this form is not from a page of this dashboard, or it was restarted"
            return _answered(templates, 403, what, "go back and reload the page")
        action, incident = form.get("action", ""), form.get("incident", "")
        if action not in SAID:
            raise SightlineError(f"there is no action {action[:40]!r}", fix=f"one of {', '.join(SAID)}")
        fields = Fields(
            note=form.get("note", "")[:4000],
            person=form.get("person", "")[:200] if action == "assign" else "",
            start=form.get("from", "") if action == "fixed" else "",
            end=form.get("to", "") if action == "fixed" else "",
            into=form.get("into", "") if action == "merge" else "",
        )
        check(action, fields)
        by = settings.access.person(request, form.get("by", ""))
        name = request.path_params["monitor"]
        library.spec(name)
        word = Word(str(settings.home.root), name, incident, action, by, fields)
        said = await run_in_threadpool(perform, word)
    except SightlineError as error:
        return _answered(templates, 400, error.what, error.fix)
    except KeyError:
        return _answered(templates, 404, "there is no such monitor")
    if said.status != 200:
        return _answered(templates, said.status, str(said.content.get("error")), said.content.get("fix"))
    return RedirectResponse(f"/monitors/{quote(name, safe='')}/incident?incident={quote(incident, safe='')}", 303)


def _answered(templates: jinja2.Environment, status: int, error: str, fix: str | None = None) -> Response:
    text = templates.get_template("error.html").render(title="Not done", error=error, where=None, fix=fix)
    return HTMLResponse(text, status)


def dumps(page: Page) -> str:
    """A page's twin as text, for files."""
    return json.dumps(page.as_json(), indent=2, ensure_ascii=False, default=str)
