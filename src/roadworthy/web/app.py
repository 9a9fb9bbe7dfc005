"""The application: routes of all pages, guards before them, errors as pages.

In: a ``Desk`` and ``Guards``. Out: an ASGI application (Starlette). Laws: what a page raises becomes a page that says
what was found and what to do next, never a bare trace; a fault of our own is written to standard error; handlers run
in threads, four at a time.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qsl, quote

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from roadworthy.errors import DataError, RegistryError, RoadworthyError, UnknownName, UsageError
from roadworthy.views.dashboard.banner import banner_of
from roadworthy.web.desk import Answer, Asked, Desk, Door, File, Page
from roadworthy.web.guards import MOST_FORM, SECURITY_HEADERS, Guards
from roadworthy.web.pages import DOORS
from roadworthy.web.rendering import render, static_file

__all__ = ["dashboard"]

_AT_ONCE = 4
_STATUS = ((UnknownName, 404), (UsageError, 400), (DataError, 422), (RegistryError, 503))


class _Refused(Exception):
    """A request that no page may see."""

    def __init__(self, status: int, words: str, next_step: str = "") -> None:
        super().__init__(words)
        self.status, self.words, self.next_step = status, words, next_step


class _Front:
    """All requests to the pages of one dashboard."""

    def __init__(self, desk: Desk, guards: Guards) -> None:
        self._desk, self._guards = desk, guards
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        # cookies do not know ports: two dashboards of one host must not sign each other's people out
        mark = sha256(str(desk.file.absolute()).encode()).hexdigest()[:12]
        self._session, self._said = f"roadworthy_session_{mark}", f"roadworthy_said_{mark}"

    def endpoint(self, door: Door) -> Callable[[Request], Awaitable[Response]]:
        """What answers at a door."""

        async def answer(request: Request) -> Response:
            form = await _form(request) if door.method == "POST" else {}
            work = partial(self._answered, door, request, form)
            return await anyio.to_thread.run_sync(work, limiter=self._limiter)

        return answer

    async def sign_in(self, request: Request) -> Response:
        """The page that asks for a key, and its answer."""
        form = await _form(request) if request.method == "POST" else {}
        return await anyio.to_thread.run_sync(partial(self._signed_in, request, form), limiter=self._limiter)

    async def refused(self, request: Request, error: Exception) -> Response:
        """What no route answers, as a page."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        words = "there is no such page" if status == 404 else f"this cannot be asked for like that ({status})"
        return await anyio.to_thread.run_sync(
            partial(self._troubled, request, _Refused(status, words, "start from the overview")), limiter=self._limiter
        )

    def _answered(self, door: Door, request: Request, form: Mapping[str, str]) -> Response:
        person = ""
        try:
            person = self._admitted(request, door.method)
            asked = Asked(
                path=_own_path(request),
                place=request.path_params,
                query=dict(request.query_params),
                form=form,
                person=person,
            )
            return self._response(request, door, door.handler(self._desk, asked), person)
        except _SignInFirst:
            return RedirectResponse(f"/sign-in?to={quote(_own_path(request), safe='')}", status_code=303)
        except Exception as error:  # noqa: BLE001 - whatever breaks becomes a page that says so
            return self._troubled(request, error, person, door.section)

    def _admit(self, request: Request, method: str) -> None:
        if not self._guards.admit_host(request.headers.get("host", "")):
            raise _Refused(
                403, "this dashboard is not called like that", "give it --allow-host NAME where it is started"
            )
        if method == "POST" and not self._guards.own_page(request.headers):
            raise _Refused(403, "a change is accepted from the dashboard's own pages only", "do it on the page itself")

    def _admitted(self, request: Request, method: str) -> str:
        self._admit(request, method)
        person = self._guards.person(request.cookies.get(self._session, ""))
        if not person and self._guards.must_sign_in():
            raise _SignInFirst
        return person

    def _signed_in(self, request: Request, form: Mapping[str, str]) -> Response:
        try:
            self._admit(request, request.method)
            session = self._guards.session(form.get("key", "")) if request.method == "POST" else ""
        except Exception as error:  # noqa: BLE001 - as above
            return self._troubled(request, error)
        to = _own(request.query_params.get("to", "/"))
        if not session:
            return self._sign_in_page(request, to, wrong=request.method == "POST")
        response = RedirectResponse(to, status_code=303)
        self._cookie(response, request, self._session, session)
        return response

    def _sign_in_page(self, request: Request, to: str, *, wrong: bool) -> Response:
        page = Page("sign_in.html.j2", "Sign in", {"to": to, "wrong": wrong}, status=401 if wrong else 200)
        return self._html(request, page, "", "", framed=False)

    def _response(self, request: Request, door: Door, answer: Answer, person: str) -> Response:
        if isinstance(answer, Page):
            return self._html(request, answer, door.section, person)
        if isinstance(answer, File):
            named = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(answer.name)}"} if answer.name else {}
            return Response(answer.content, media_type=answer.kind, headers={**named, **answer.headers})
        response = RedirectResponse(_own(answer.to), status_code=303)
        if answer.words:
            self._cookie(response, request, self._said, self._guards.sealed(answer.words[:600]))
        return response

    def _html(self, request: Request, page: Page, section: str, person: str, *, framed: bool = True) -> Response:
        said = self._guards.unsealed(request.cookies.get(self._said, ""))
        text = render(
            page.template,
            **page.shown,
            page=page,
            section=section,
            person=person,
            project=self._desk.site.name,
            banner=banner_of(self._desk.site) if framed else None,
            now_us=self._desk.site.now_us(),
            path=_own_path(request),
            said=said,
        )
        response = Response(text, status_code=page.status, media_type="text/html; charset=utf-8")
        if said:
            response.delete_cookie(self._said)
        return response

    def _troubled(self, request: Request, error: Exception, person: str = "", section: str = "") -> Response:
        """An error as a page, without anything that could fail for the same reason."""
        shown: dict[str, Any] = {"message": "", "problems": (), "next_step": ""}
        if isinstance(error, _Refused):
            status = error.status
            shown |= {"message": error.words, "next_step": error.next_step}
        elif isinstance(error, RoadworthyError):
            status = next((number for kind, number in _STATUS if isinstance(error, kind)), 500)
            shown |= {"message": error.message, "problems": error.problems, "next_step": error.next_step}
        else:
            status = 500
            traceback.print_exception(error, file=sys.stderr)
            shown |= {
                "message": f"the page could not be made: {type(error).__name__}",
                "next_step": "the whole trace is on the dashboard's standard error",
            }
        text = render(
            "error.html.j2",
            **shown,
            status=status,
            page=Page("error.html.j2", "This did not work", {}, status=status),
            section=section,
            person=person,
            project="" if isinstance(error, _Refused) else self._desk.site.name,
            banner=None,
            now_us=self._desk.site.now_us(),
            path=_own(_own_path(request)),
            said="",
        )
        return Response(text, status_code=status, media_type="text/html; charset=utf-8")

    @staticmethod
    def _cookie(response: Response, request: Request, name: str, value: str) -> None:
        # lax: whoever follows an alert's link from a chat or a mail is signed in. No GET changes anything, and a POST
        # has to come from a page of ours besides (Guards.own_page).
        response.set_cookie(name, value, httponly=True, samesite="lax", secure=request.url.scheme == "https")


class _SignInFirst(Exception):
    """Nobody has shown a key."""


class _Headers:
    """Every answer with the same headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Any) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(one for one in self._headers if one[0] not in there),
                ]
            await send(message)

        await self._app(scope, receive, told)


def dashboard(desk: Desk, guards: Guards) -> ASGIApp:
    """The dashboard of a project as an ASGI application."""
    front = _Front(desk, guards)
    routes = [Route(door.path, front.endpoint(door), methods=[door.method]) for door in DOORS]
    routes.append(Route("/sign-in", front.sign_in, methods=["GET", "POST"]))
    routes.append(Route("/static/{name}", _static, methods=["GET"]))
    handlers: dict[Any, Any] = {HTTPException: front.refused}
    return _Headers(Starlette(routes=routes, exception_handlers=handlers))


async def _static(request: Request) -> Response:
    found = await anyio.to_thread.run_sync(static_file, request.path_params["name"])
    if found is None:
        return Response("there is no such file\n", status_code=404, media_type="text/plain")
    content, kind = found
    return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; HTTPException 413 for one that is too large."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_FORM:
                raise HTTPException(413)
    except ClientDisconnect as error:
        raise HTTPException(400) from error
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200))
    except ValueError as error:  # too many fields
        raise HTTPException(400) from error


def _own_path(request: Request) -> str:
    query = request.url.query
    return request.url.path + (f"?{query}" if query else "")


def _own(to: str) -> str:
    r"""A path of our own: no other host, whatever a link says.

    >>> _own("/alerts/3?span=1h"), _own("//evil.example"), _own("https://evil.example"), _own("/\\evil.example")
    ('/alerts/3?span=1h', '/', '/', '/')
    """
    return to if to.startswith("/") and not to.startswith(("//", "/\\")) and to.isprintable() else "/"
