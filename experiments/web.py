"""The HTTP face of `serving.Service`: a JSON interface with its OpenAPI description, and one page. Knows no talks itself.

Whoever asks is known by an invite token, in the header `Authorization: Bearer <token>` (scripts) or in a cookie that other
sites cannot send (browsers). Bodies are small JSON objects; anything else is answered with a 4xx status and one sentence.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from importlib.resources import files
from itertools import chain
from typing import Annotated, Any, Literal

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from convogym import __version__
from convogym.dialogue import MAX_FACT_CHARS, MAX_FACTS, MAX_UTTERANCE_CHARS
from convogym.envs.talks import MAX_EPISODE_SEED
from convogym.errors import InputError
from convogym.experiments.course import FEWEST, MOST
from convogym.experiments.school import School
from convogym.experiments.serving import CONSENT, Busy, NoConsent, NotFound, NotKnown, Service

MOST_AT_ONCE = 128  # requests that are being answered at one time; others wait
MAX_BODY = 65_536  # bytes; a persona of twenty long facts has 6,000 characters
NOT_RECORDED = "this could not be recorded; the talk is as it was. Try again."
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


class Course(_Body):
    """A goal to teach, and how many answers to ask for."""

    goal: Annotated[str, Field(min_length=1, max_length=200)]
    answers: Annotated[int, Field(ge=FEWEST, le=MOST)] = 10


class Answer(_Body):
    """A line for a question, by its number: the person's, or with `line` null the one proposed."""

    question: Annotated[int, Field(ge=1, le=1_000_000)]
    line: Text | None = None


class PassedOver(_Body):
    """The number of a question that is passed over."""

    question: Annotated[int, Field(ge=1, le=1_000_000)]


class Restored(_Body):
    """A version to put in use; 0 = the untaught model."""

    version: Annotated[int, Field(ge=0, le=1_000_000)]


def _agreed(request: Request) -> str:
    """Who asks, if they agreed to what is recorded."""
    service: Service = request.app.state.service
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    token = given.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE)
    return service.check_agreed(service.person(token))


def _open_school(request: Request) -> School:
    """The school, if there is one."""
    school: School | None = request.app.state.school
    if school is None:
        raise NotFound("nobody can teach here; `convogym serve --taught FOLDER` lets people.")
    return school


Me = Annotated[str, Depends(_agreed)]
Here = Annotated[School, Depends(_open_school)]


def make_app(service: Service, hosts: list[str], school: School | None = None) -> FastAPI:
    """The application.

    Args:
        service: does everything about talks.
        hosts: the names by which browsers may call this computer, without ports.
        school: does everything about teaching; None = nobody can teach here.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = MOST_AT_ONCE
        yield

    app = FastAPI(title="convogym", version=__version__, summary="Talk, steer, correct, rate, teach.", lifespan=lifespan)
    app.add_middleware(_Guard, hosts=hosts)

    app.state.service, app.state.school = service, school
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
        """The pseudonym, and what lines can be about."""
        goals = [{"code": code, "text": text} for code, text in enumerate(service.goals.goals)]
        return {"person": me, "goals": goals}

    @app.get("/api/me/dashboard")
    def dashboard(me: Me) -> dict[str, Any]:
        """What you did so far, by numbers, by goal and by day."""
        return service.dashboard(me)

    @app.get("/api/me/data")
    def data(me: Me) -> StreamingResponse:
        """Everything recorded of you, one episode a line."""
        headers = {"Content-Disposition": 'attachment; filename="my-talks.jsonl"'}
        rows = chain(service.data(me), school.data(me) if school else ())
        return StreamingResponse(rows, media_type="application/x-ndjson", headers=headers)

    @app.delete("/api/me/data")
    def forget(me: Me) -> dict[str, Any]:
        """Delete everything recorded of you, your agreement too."""
        return {"deleted": service.forget(me), "deleted_lessons": school.forget(me) if school else 0}

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

    @app.post("/api/talks/{talk}/say-live")
    async def say_live(talk: str, body: Saying, me: Me) -> StreamingResponse:
        """The same, heard while it is said: JSON rows `{"reply": so far}`, then `{"view": ...}` or `{"error": ...}`."""

        def say(heard: Callable[[str], None]) -> dict[str, Any]:
            return service.act(me, talk, lambda session: session.say(body.line, body.action, heard))

        return await _live(say)

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

    @app.get("/api/transcripts/export")
    def export(me: Me, words: str = "", only: Literal["", "corrected", "rated"] = "") -> StreamingResponse:
        """The same talks whole, one episode a line."""
        headers = {"Content-Disposition": 'attachment; filename="my-talks.jsonl"'}
        rows = (episode.to_json() + "\n" for episode in service.matching(me, words, only))
        return StreamingResponse(rows, media_type="application/x-ndjson", headers=headers)

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

    _add_teaching(app, school)
    for name, kind in PAGE.items():
        _serve_file(app, "/" if name == "index.html" else f"/{name}", name, kind)
    return app


def _add_teaching(app: FastAPI, school: School | None) -> None:
    @app.get("/api/teaching")
    def teaching(me: Me) -> dict[str, Any]:
        """Whether one can teach here, the versions, and how your course stands."""
        return {"offered": False} if school is None else school.view(me)

    @app.post("/api/teaching/begin")
    def begin_course(body: Course, me: Me, school: Here) -> dict[str, Any]:
        """Begin to teach a goal; answers of an earlier time count."""
        return school.begin(me, body.goal, body.answers)

    @app.post("/api/teaching/answer")
    def answer(body: Answer, me: Me, school: Here) -> dict[str, Any]:
        """Accept the line proposed, or give a better one."""
        return school.answer(me, body.question, body.line)

    @app.post("/api/teaching/pass-over")
    def pass_over(body: PassedOver, me: Me, school: Here) -> dict[str, Any]:
        """Ask for another question."""
        return school.pass_over(me, body.question)

    @app.post("/api/teaching/learn")
    def learn(me: Me, school: Here) -> dict[str, Any]:
        """Learn from the answers, in the background: look at `/api/teaching` for how far it is."""
        return school.learn(me)

    @app.post("/api/teaching/keep")
    def keep(me: Me, school: Here) -> dict[str, Any]:
        """Keep what was learnt; everybody's talks that begin from now on have the goal."""
        return school.keep(me)

    @app.post("/api/teaching/leave")
    def leave(me: Me, school: Here) -> dict[str, Any]:
        """End the course, keeping nothing but the answers."""
        return school.leave(me)

    @app.post("/api/teaching/restore")
    def restore(body: Restored, me: Me, school: Here) -> dict[str, Any]:
        """Put another version in use."""
        return school.restore(me, body.version)


async def _live(work: Callable[[Callable[[str], None]], dict[str, Any]]) -> StreamingResponse:
    """Does some work in a thread and sends what is heard of it meanwhile.

    Args:
        work: is given a function that takes the reply so far; returns how the talk stands then. It is finished, and so
            recorded, even if nobody listens any more.

    Raises:
        Whatever the work raises before anything was heard.
    """
    rows: asyncio.Queue[dict[str, Any] | Exception] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def send(row: dict[str, Any] | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the server is being stopped: nobody listens
            loop.call_soon_threadsafe(rows.put_nowait, row)

    def do() -> None:
        try:
            send({"view": work(lambda text: send({"reply": text}))})
        except Exception as error:
            send(error)

    doing = asyncio.ensure_future(run_in_threadpool(do))
    first = await rows.get()
    if isinstance(first, Exception):
        raise first

    async def sent() -> AsyncIterator[str]:
        row: dict[str, Any] | Exception = first
        while not isinstance(row, Exception):
            yield json.dumps(row) + "\n"
            if "view" in row:
                await doing
                return
            row = await rows.get()
        yield json.dumps({"error": str(row) if isinstance(row, InputError) else NOT_RECORDED}) + "\n"

    return StreamingResponse(sent(), media_type="application/x-ndjson")


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
        return JSONResponse({"error": NOT_RECORDED}, 503)

    app.add_exception_handler(NotKnown, answer(401))
    app.add_exception_handler(NoConsent, answer(403))
    app.add_exception_handler(NotFound, answer(404))
    app.add_exception_handler(Busy, answer(429))
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
