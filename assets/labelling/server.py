"""The page over HTTP, on loopback: who has the token may read and answer, and no page of another origin may."""

import hmac
import html
import secrets
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from assets.labelling.session import Answers, AnswersError, Session

HOST = "127.0.0.1"

_HERE = Path(__file__).parent
_MOST_BYTES = 64 * 1024
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_NO_CONTENT = "default-src 'none'; frame-ancestors 'none'"


def listen(port: int) -> socket.socket:
    """A port of loopback, taken; 0: one that is free. Raises OSError, naming it, where it cannot be had."""
    taken = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((HOST, port))
        taken.listen()
    except OSError as error:
        taken.close()
        raise OSError(error.errno, error.strerror, f"{HOST}:{port}") from error
    return taken


@dataclass(frozen=True, slots=True)
class LabelServer:
    """The page of one session at a port that has been taken."""

    session: Session
    listening: socket.socket
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    """Whoever knows it may read and answer."""

    @property
    def address(self) -> str:
        """Where the page is, its token included."""
        return f"http://{HOST}:{self.listening.getsockname()[1]}/{self.token}/"

    def server(self) -> uvicorn.Server:
        """What serves the page, not started yet."""
        app = application(self.session, token=self.token, port=self.listening.getsockname()[1])
        return uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="critical",
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=5,
            )
        )


def application(session: Session, *, token: str, port: int) -> Starlette:
    """The pages and calls, each behind host, token and, where something is stored, origin."""

    def guarded(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guard(request: Request) -> Response:
            refusal = _refusal(request, token=token, port=port)
            response = await answer(request) if refusal is None else refusal
            response.headers.update(_HEADERS)
            response.headers.setdefault("Content-Security-Policy", _NO_CONTENT)
            return response

        return guard

    async def page(_request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src data:; "
            "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        )
        return Response(_page(nonce), media_type="text/html", headers={"Content-Security-Policy": policy})

    async def facts(_request: Request) -> Response:
        return _json(await run_in_threadpool(session.facts))

    async def row(request: Request) -> Response:
        return _json(await run_in_threadpool(session.row, request.path_params["place"]))

    async def keep(request: Request) -> Response:
        place, answers = request.path_params["place"], _answers(await _body(request))
        await run_in_threadpool(session.keep, place, answers)
        return _json(await run_in_threadpool(session.progress))

    async def take_back(request: Request) -> Response:
        await run_in_threadpool(session.take_back, request.path_params["place"])
        return _json(await run_in_threadpool(session.progress))

    async def nothing(_request: Request) -> Response:
        return _fault(404, "nothing is here")

    def mended(answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def told(request: Request) -> Response:
            try:
                return await answer(request)
            except IndexError:
                return _fault(404, f"there are rows 0 to {session.num_rows - 1}")
            except AnswersError as error:
                return _fault(400, str(error))
            except OSError as error:
                return _fault(507, f"the answer could not be stored: {error.strerror or error}")

        return told

    def route(path: str, answer: Callable[[Request], Awaitable[Response]], method: str) -> Route:
        return Route(f"/{{token}}/{path}", guarded(mended(answer)), methods=[method])

    return Starlette(
        routes=[
            route("", page, "GET"),
            route("session", facts, "GET"),
            route("rows/{place:int}", row, "GET"),
            route("rows/{place:int}", keep, "POST"),
            route("rows/{place:int}/undo", take_back, "POST"),
            Route("/{rest:path}", guarded(nothing), methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
        ]
    )


def _refusal(request: Request, *, token: str, port: int) -> Response | None:
    """Why a request is not served: another host's name (DNS rebinding), no token, or a call from another origin."""
    hosts = {f"{HOST}:{port}", f"localhost:{port}"}
    host = request.headers.get("host", "")
    if host not in hosts:
        return _fault(421, "this page answers under its own address alone")
    given = request.path_params.get("token", request.path_params.get("rest", "").partition("/")[0])
    if not hmac.compare_digest(given.encode(), token.encode()):
        return _fault(404, "nothing is here")
    if request.method == "GET":
        return None
    site = request.headers.get("sec-fetch-site", "same-origin")
    if request.headers.get("origin") != f"http://{host}" or site != "same-origin":
        return _fault(403, "want a call of this page itself")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        return _fault(415, "want application/json")
    return None


async def _body(request: Request) -> bytes:
    """What was sent. Raises AnswersError where it is too long for any answer."""
    held = b""
    try:
        async for part in request.stream():
            held += part
            if len(held) > _MOST_BYTES:
                raise AnswersError(f"want at most {_MOST_BYTES:,} bytes")
    except ClientDisconnect as error:
        raise AnswersError("want a whole answer, found one cut off") from error
    return held


def _answers(body: bytes) -> Answers:
    """The answers in a body. Raises AnswersError where it holds anything else."""
    try:
        held: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise AnswersError("want a JSON object") from error
    answers = held.get("answers") if isinstance(held, dict) else None
    if not isinstance(answers, dict) or not all(isinstance(each, bool | None) for each in answers.values()):
        raise AnswersError("want answers, an object of criterion to true, false or null")
    return answers


def _json(held: Any) -> Response:
    return Response(orjson.dumps(held), media_type="application/json")


def _fault(status: int, told: str) -> Response:
    return Response(orjson.dumps({"fault": told}), status_code=status, media_type="application/json")


def _page(nonce: str) -> str:
    """The page, which holds no word of any row: script and style of ours in it under a nonce."""
    named = html.escape(nonce, quote=True)
    text = _part("page.html").replace("NONCE", named)
    return text.replace("/* STYLE */", _part("page.css")).replace("/* SCRIPT */", _part("page.js"))


@cache
def _part(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
