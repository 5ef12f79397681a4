"""The HTTP face of `serving.Service`: a JSON interface with its OpenAPI description, and one page. Knows no talks itself.

Whoever asks is known by an invite token, in the header `Authorization: Bearer <token>` (scripts) or in a cookie that other
sites cannot send (browsers). Bodies are small JSON objects; anything else is answered with a 4xx status and one sentence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from convogym import __version__
from convogym.dialogue import MAX_FACT_CHARS, MAX_FACTS, MAX_UTTERANCE_CHARS
from convogym.envs.talks import MAX_EPISODE_SEED
from convogym.errors import InputError
from convogym.experiments.serving import CONSENT, NoConsent, NotFound, NotKnown, Service

MAX_BODY = 65_536  # bytes; a persona of twenty long facts has 6,000 characters
COOKIE = "convogym"
COOKIE_SECONDS = 180 * 24 * 3600
PAGE = {"index.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " \
         "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # fmt: skip

Text = Annotated[str, Field(min_length=1, max_length=MAX_UTTERANCE_CHARS)]
Turn = Annotated[int, Field(ge=1, le=1_000_000)]
Code = Annotated[int, Field(ge=0, le=1_000_000)]
Mark = Annotated[float | None, Field(ge=-1_000_000, le=1_000_000, allow_inf_nan=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Login(_Body):
    """Coming in, and agreeing to what is recorded."""

    token: Annotated[str | None, Field(max_length=200)] = None
    agrees: bool


class Beginning(_Body):
    """A new talk."""

    mode: Literal["talk", "steer"]
    persona: Annotated[list[Annotated[str, Field(max_length=MAX_FACT_CHARS)]] | None, Field(max_length=MAX_FACTS)] = None
    seed: Annotated[int | None, Field(ge=0, le=MAX_EPISODE_SEED)] = None


class Goal(_Body):
    """A goal's code."""

    action: Code


class Saying(_Body):
    """A line: the person's words, or with `line` null the one proposed."""

    line: Text | None = None
    action: Code | None = None


class Reply(_Body):
    """The person's words for the last reply."""

    reply: Text


class Choice(_Body):
    """The first (0) or second (1) of two texts."""

    which: Literal[0, 1]


class Correction(_Body):
    """What a turn should have been."""

    turn: Turn
    line: Text | None = None
    reply: Text | None = None


class Rating(_Body):
    """A mark for a turn, or with `turn` null for the whole talk; `value` null withdraws it."""

    turn: Turn | None = None
    value: Mark = None


def _agreed(request: Request) -> str:
    """Who asks, if they agreed to what is recorded."""
    service: Service = request.app.state.service
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    token = given.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE)
    return service.check_agreed(service.person(token))


Me = Annotated[str, Depends(_agreed)]


def make_app(service: Service, hosts: list[str]) -> FastAPI:
    """The application.

    Args:
        service: does everything.
        hosts: the names by which browsers may call this computer, without ports.
    """
    app = FastAPI(title="convogym", version=__version__, summary="Talk, steer, correct, rate.")
    app.add_middleware(_Guard, hosts=hosts)

    app.state.service = service
    _answer_errors(app)

    @app.get("/api/about")
    def about() -> dict[str, Any]:
        """What one should know before coming in."""
        return {"consent": CONSENT, "needs_token": service.needs_token, "version": __version__}

    @app.post("/api/login")
    def login(body: Login, response: Response) -> dict[str, Any]:
        """Come in: the token is kept in a cookie, the agreement is recorded."""
        me = service.person(body.token)
        if not body.agrees:
            raise NoConsent("please read the text on what is recorded, and agree to it first.")
        service.agree(me)
        if body.token:
            response.set_cookie(COOKIE, body.token, max_age=COOKIE_SECONDS, httponly=True, samesite="strict", path="/")
        return {"person": me}

    @app.post("/api/logout")
    def logout(response: Response) -> dict[str, Any]:
        """Forget the cookie."""
        response.delete_cookie(COOKIE, path="/")
        return {}

    @app.get("/api/me")
    def who(me: Me) -> dict[str, Any]:
        """The pseudonym, what lines can be about, and what was done so far."""
        goals = [{"code": code, "text": text} for code, text in enumerate(service.goals.goals)]
        return {"person": me, "goals": goals, "dashboard": service.dashboard(me)}

    @app.get("/api/me/data")
    def data(me: Me) -> StreamingResponse:
        """Everything recorded of you, one episode a line."""
        headers = {"Content-Disposition": 'attachment; filename="my-talks.jsonl"'}
        return StreamingResponse(service.data(me), media_type="application/x-ndjson", headers=headers)

    @app.delete("/api/me/data")
    def forget(me: Me) -> dict[str, Any]:
        """Delete everything recorded of you, your agreement too."""
        return {"deleted": service.forget(me)}

    @app.post("/api/talks")
    def begin(body: Beginning, me: Me) -> dict[str, Any]:
        """Begin a talk: you say the lines ("talk"), or pick their goals ("steer")."""
        return service.begin(me, body.mode, body.persona, body.seed)

    @app.get("/api/talks/{talk}")
    def look(talk: str, me: Me) -> dict[str, Any]:
        """How a talk stands."""
        return service.act(me, talk, lambda session: None)

    @app.post("/api/talks/{talk}/look-ahead")
    def look_ahead(talk: str, me: Me) -> dict[str, Any]:
        """What would be said for each goal."""
        return service.act(me, talk, lambda session: session.look_ahead())

    @app.post("/api/talks/{talk}/propose")
    def propose(talk: str, body: Goal, me: Me) -> dict[str, Any]:
        """A line for a goal; asked again, another."""
        return service.act(me, talk, lambda session: session.propose(body.action))

    @app.post("/api/talks/{talk}/compare")
    def compare(talk: str, body: Goal, me: Me) -> dict[str, Any]:
        """Two lines for a goal."""
        return service.act(me, talk, lambda session: list(session.compare(body.action)))

    @app.post("/api/talks/{talk}/prefer")
    def prefer(talk: str, body: Choice, me: Me) -> dict[str, Any]:
        """Choose one of the two lines; it is then proposed."""
        return service.act(me, talk, lambda session: session.prefer(body.which))

    @app.post("/api/talks/{talk}/say")
    def say(talk: str, body: Saying, me: Me) -> dict[str, Any]:
        """Say a line and hear the reply."""
        return service.act(me, talk, lambda session: session.say(body.line, body.action))

    @app.post("/api/talks/{talk}/amend")
    def amend(talk: str, body: Reply, me: Me) -> dict[str, Any]:
        """Put your words in place of the last reply."""
        return service.act(me, talk, lambda session: session.amend(body.reply))

    @app.post("/api/talks/{talk}/other-reply")
    def other_reply(talk: str, me: Me) -> dict[str, Any]:
        """The last reply and another."""
        return service.act(me, talk, lambda session: list(session.other_reply()))

    @app.post("/api/talks/{talk}/prefer-reply")
    def prefer_reply(talk: str, body: Choice, me: Me) -> dict[str, Any]:
        """Choose one of the two replies; the talk goes on from it."""
        return service.act(me, talk, lambda session: session.prefer_reply(body.which))

    @app.post("/api/talks/{talk}/correct")
    def correct(talk: str, body: Correction, me: Me) -> dict[str, Any]:
        """Say what a turn should have been; the talk stays as it was said."""
        return service.act(me, talk, lambda session: session.correct(body.turn, body.line, body.reply))

    @app.post("/api/talks/{talk}/rate")
    def rate(talk: str, body: Rating, me: Me) -> dict[str, Any]:
        """Mark a turn, or the talk."""
        return service.act(me, talk, lambda session: session.rate(body.value, body.turn))

    @app.post("/api/talks/{talk}/undo")
    def undo(talk: str, me: Me) -> dict[str, Any]:
        """Take the last turn back."""
        return service.act(me, talk, lambda session: session.undo())

    @app.post("/api/talks/{talk}/end")
    def end(talk: str, me: Me) -> dict[str, Any]:
        """End a talk."""
        return service.act(me, talk, lambda session: session.end())

    @app.get("/api/transcripts")
    def transcripts(me: Me, words: str = "", only: Literal["", "corrected", "rated"] = "") -> list[dict[str, Any]]:
        """Your recorded talks, the newest first."""
        return service.transcripts(me, words, only)

    @app.get("/api/transcripts/{episode}")
    def transcript(episode: str, me: Me) -> dict[str, Any]:
        """One of them."""
        return service.transcript(me, episode)

    @app.post("/api/transcripts/{episode}/correct")
    def correct_transcript(episode: str, body: Correction, me: Me) -> dict[str, Any]:
        """Say what a turn of it should have been."""
        return service.correct(me, episode, body.turn, body.line, body.reply)

    @app.post("/api/transcripts/{episode}/rate")
    def rate_transcript(episode: str, body: Rating, me: Me) -> dict[str, Any]:
        """Mark a turn of it, or all of it."""
        return service.rate(me, episode, body.turn, body.value)

    for name, kind in PAGE.items():
        _serve_file(app, "/" if name == "index.html" else f"/{name}", name, kind)
    return app


def _serve_file(app: FastAPI, path: str, name: str, kind: str) -> None:
    content = files("convogym.experiments").joinpath("page", name).read_bytes()

    @app.get(path, include_in_schema=False, name=name)
    def serve() -> Response:
        return Response(content, media_type=kind, headers={"Content-Security-Policy": POLICY})


def _answer_errors(app: FastAPI) -> None:
    """What goes wrong becomes a status and a sentence; what is typed is never repeated in full."""

    def answer(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def handle(request: Request, error: Exception) -> Response:
            return JSONResponse({"error": str(error)}, status)

        return handle

    async def refused(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 400
        return JSONResponse({"error": str(getattr(error, "detail", error))}, status)

    async def malformed(request: Request, error: Exception) -> Response:
        problems = error.errors() if isinstance(error, RequestValidationError) else []
        said = [f"{'.'.join(str(part) for part in each['loc'])[:80]}: {each['msg'][:200]}" for each in problems[:5]]
        return JSONResponse({"error": "; ".join(said) or "this is not what was expected."}, 422)

    async def machine(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": "this could not be recorded; the talk is as it was. Try again."}, 503)

    app.add_exception_handler(NotKnown, answer(401))
    app.add_exception_handler(NoConsent, answer(403))
    app.add_exception_handler(NotFound, answer(404))
    app.add_exception_handler(InputError, answer(422))
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(OSError, machine)


Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class _Guard:
    """Keeps out what no page of ours sends: other hosts' names, other sites' pages, large bodies, forms."""

    def __init__(self, app: Any, hosts: list[str]) -> None:
        self._app, self._hosts = app, {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(headers)
        body, refusal = (b"", refusal) if refusal else await _body(receive)
        if refusal:
            await JSONResponse({"error": refusal[1]}, refusal[0])(scope, receive, send)
            return
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cache-control", b"no-store"),
                ]
            await send(message)

        await self._app(scope, again, guarded)

    def _refusal(self, headers: dict[str, str]) -> tuple[int, str] | None:
        if _name(headers.get("host", "")) not in self._hosts:  # a name that an attacker made point here (DNS rebinding)
            return 400, "this computer is not known by that name; see `convogym serve --host`."
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower():
            return 403, "pages of other sites may not call this one."
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        if has_body and headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return 415, "the body must be JSON, with the content type application/json."
        if _is_number(headers) and int(headers["content-length"]) > MAX_BODY:
            return 413, f"the body must have at most {MAX_BODY} bytes."
        return None


def _is_number(headers: dict[str, str]) -> bool:
    return headers.get("content-length", "").isdecimal() and len(headers["content-length"]) < 16


async def _body(receive: Receive) -> tuple[bytes, tuple[int, str] | None]:
    """The body, unless it is too large."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > MAX_BODY:
            return b"", (413, f"the body must have at most {MAX_BODY} bytes.")
    return b"".join(parts), None


def _name(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.partition(":")[0].lower()
