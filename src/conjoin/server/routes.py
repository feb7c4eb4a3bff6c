"""The routes: search, vectors, items with their media, and what the service says of itself."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import StreamingResponse

from conjoin.errors import ConjoinError
from conjoin.server.answers import STREAM, Answers, QuestionBody, schema_of_question
from conjoin.server.item_changes import PutBody, Writer, body_schema, refuse_unguarded, told_of
from conjoin.server.limits import KINDS, PROBLEM, Limits, Problem, brief
from conjoin.server.media import cut
from conjoin.server.middleware import Door, Guard, defect
from conjoin.server.requests import (
    Ask,
    EmbedBody,
    ExplainBody,
    Piece,
    SearchBody,
    UploadBody,
    UploadEmbedBody,
    ask_of,
    parsed,
    piece_of,
    schema_of,
    told,
)
from conjoin.server.session import Found, Live, reasons
from conjoin.server.state import Desk, Settings
from conjoin.server.uploads import Entrance

#: The page's files by name, and their types.
PAGE = Path(__file__).parent / "page"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}  # fmt: skip

_JSON, _FORM = "application/json", "multipart/form-data"

_PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "argument", "found", "remedy"],
    "properties": {
        "type": {"type": "string", "enum": [PROBLEM + kind for kind in KINDS]},
        "status": {"type": "integer"},
        **{n: {"type": "string"} for n in ("title", "detail", "argument", "found", "remedy")},
    },
}  # fmt: skip


def create_app(settings: Settings, live: Live | None = None) -> Any:
    """The service as an ASGI application.

    Parameters
    ----------
    live : the state to begin with, where it is open already.
    """
    desk: Desk = Desk(settings, live)
    answers = Answers(desk)

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        await desk.start()
        await answers.warm()
        desk.on_hangup()
        yield
        await desk.stop()

    middle = [Middleware(Guard, metrics=desk.metrics)]
    if settings.cors:
        middle.append(Middleware(
            CORSMiddleware, allow_origins=list(settings.cors),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["authorization", "content-type"],
        ))  # fmt: skip
    middle.append(
        Middleware(Door, limits=settings.limits, token=settings.token, local=settings.local,
                   origins=settings.cors)
    )  # fmt: skip
    app = FastAPI(
        title="conjoin", version=_version(), docs_url=None, redoc_url=None, lifespan=lifespan,
        description="Search across the modalities of one workspace.", middleware=middle,
        responses={"4XX": _problem("What was wrong"), "5XX": _problem("Not your fault")},
    )  # fmt: skip
    app.state.desk, app.state.answers = desk, answers
    _handlers(app)
    _asking(app, desk)
    _answering(app, answers)
    _writing(app, desk)
    _looking(app, desk)
    _telling(app, desk, answers)
    _page(app)
    return app


def _version() -> str:
    from importlib.metadata import version

    return version("conjoin")


def _problem(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {"application/problem+json": {"schema": _PROBLEM_SCHEMA}},
    }


def answer(value: Any, **headers: str) -> Response:
    """JSON as it is sent: no NaN, and no letter that cannot be."""
    data = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return Response(data, media_type=_JSON, headers={"cache-control": "no-store", **headers})


def refusal(problem: Problem) -> Response:
    """A problem as it is sent."""
    return Response(
        json.dumps(problem.to_json()), problem.status, problem.headers, "application/problem+json"
    )


def _handlers(app: FastAPI) -> None:
    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, Problem):
            return refusal(error)
        if isinstance(error, ConjoinError):
            return refusal(Problem.of(error))
        if isinstance(error, RequestValidationError):
            return refusal(told(error.errors()))
        if isinstance(error, HTTPException):
            problem = _of_status(error)
            if problem.kind == "wrong-method":
                problem.allow = allowed(app, request.scope)
            return refusal(problem)
        return refusal(defect(error))

    for kind in (Problem, ConjoinError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, refused)


def allowed(app: FastAPI, scope: Any) -> str:
    """The methods a path answers to."""
    from starlette.routing import Match, Route

    found: set[str] = set()
    for route in app.routes:
        if isinstance(route, Route) and route.matches(dict(scope))[0] is not Match.NONE:
            found |= set(route.methods or ())
    return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))


def _of_status(error: HTTPException) -> Problem:
    kinds = {status: kind for kind, (status, _) in KINDS.items()}
    kind = kinds.get(error.status_code, "malformed")
    remedies = {"not-found": "see /openapi.json", "wrong-method": "see /openapi.json"}
    return Problem(kind, "request", brief(str(error.detail)), remedies.get(kind, "fix it"))


# What is asked


def _asking(app: FastAPI, desk: Desk) -> None:
    limits = desk.limits
    entrance = Entrance(limits)

    async def hits(ask: Ask) -> Response:
        found = await desk.ask(ask)
        said = await run_in_threadpool(found.live.dressed, found)
        if said["nothing"]:
            desk.metrics.add("conjoin_nothing_total")
        return answer(said)

    said = {
        "/search": "The items nearest to words, an item, a vector, or several of them.",
        "/search/upload": "The items nearest to a picture or a sound, and to terms beside it.",
        "/explain": "What a hit's score is made of, and the training pairs behind it.",
        "/embed": "The vector of one thing in the joint frame.",
        "/embed/upload": "The vector of a picture or a sound in the joint frame.",
    }

    def post(path: str, kind: str, schema: Any) -> Any:
        return app.post(path, openapi_extra=_body(kind, schema), summary=said[path])

    @post("/search", _JSON, schema_of(SearchBody, limits))
    async def search(request: Request) -> Response:
        body = parsed(await _json(request), SearchBody, limits)
        return await hits(ask_of(body, limits))

    @post("/search/upload", _FORM, _form(UploadBody, limits))
    async def search_upload(request: Request) -> Response:
        data, body = await _upload(request, UploadBody, limits)
        kind, data = await entrance.admit(data)
        if body.weight == 0:
            raise Problem("bad-argument", "weight", "is 0", "give another")
        file = Piece(kind, data, float(body.weight), body.source)
        return await hits(ask_of(body.model_copy(update={"source": None}), limits, file))

    @post("/explain", _JSON, schema_of(ExplainBody, limits))
    async def explain(request: Request) -> Response:
        body = parsed(await _json(request), ExplainBody, limits)
        part = body.model_dump(exclude={"hit", "into", "pairs"})
        ask = ask_of(SearchBody(**part, exclude=[body.hit, body.into or "-"]), limits)
        found = await desk.ask(Ask(ask.pieces, hit=body))
        return answer(await run_in_threadpool(reasons, found))

    @post("/embed", _JSON, schema_of(EmbedBody, limits))
    async def embed(request: Request) -> Response:
        body = parsed(await _json(request), EmbedBody, limits)
        ask = ask_of(SearchBody(**body.model_dump()), limits)
        piece = piece_of(body, 1.0, "query")
        return _vector(await desk.ask(Ask(ask.pieces if piece else (), only_vector=True)))

    @post("/embed/upload", _FORM, _form(UploadEmbedBody, limits))
    async def embed_upload(request: Request) -> Response:
        data, body = await _upload(request, UploadEmbedBody, limits)
        kind, data = await entrance.admit(data)
        return _vector(
            await desk.ask(Ask((Piece(kind, data, 1.0, body.source),), only_vector=True))
        )


def _answering(app: FastAPI, answers: Answers) -> None:
    limits = answers.limits

    @app.post("/ask", openapi_extra=_body(_JSON, schema_of_question(limits)),
              summary="An answer from documents, or a refusal with its cause.")  # fmt: skip
    async def ask(request: Request) -> Response:
        body = parsed(await _json(request), QuestionBody, limits)
        answers.check(body)
        if not body.stream:
            return answer(await answers.ask(body))
        await answers.documents()  # what is not there is refused before the first line
        return StreamingResponse(
            answers.stream(body), media_type=STREAM, headers={"cache-control": "no-store"}
        )


def _body(kind: str, schema: Any) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {kind: {"schema": schema}}}}


def _form(model: Any, limits: Limits) -> dict[str, Any]:
    return {
        "type": "object", "required": ["file"],
        "properties": {
            "file": {"type": "string", "format": "binary",
                     "description": "PNG, JPEG, WebP, GIF… or WAV, FLAC, Ogg, MP3."},
            "request": {"type": "string", "contentMediaType": _JSON,
                        "contentSchema": schema_of(model, limits),
                        "description": "The rest of the request as JSON."},
        },
    }  # fmt: skip


async def _json(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        raise Problem("wrong-type", "Content-Type", repr(kind[:80]), f"send {_JSON}")
    return await request.body()


async def _upload(request: Request, model: Any, limits: Limits) -> tuple[bytes, Any]:
    """The file of a form, and the JSON beside it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise Problem("wrong-type", "Content-Type", repr(kind[:80]), f"send {_FORM}")
    try:
        async with request.form(max_files=1, max_fields=1) as form:
            unknown = [name for name, _ in form.multi_items() if name not in ("file", "request")]
            if unknown:
                raise Problem("bad-argument", brief(str(unknown[0]), 40), "is not a field here",
                              "send file and request")  # fmt: skip
            file, beside = form.get("file"), form.get("request", "{}")
            if file is None or isinstance(file, str):
                raise Problem("bad-argument", "file", "is missing", "send a file named file")
            if not isinstance(beside, str):
                raise Problem("bad-argument", "request", "is a file", "send it as a field of JSON")
            data = await file.read()
    except (MultiPartException, HTTPException, UnicodeError, ValueError, KeyError) as error:
        if isinstance(error, ConjoinError):
            raise
        found = getattr(error, "message", None) or getattr(error, "detail", type(error).__name__)
        raise Problem("malformed", "body", brief(str(found)), f"send {_FORM}") from None
    return data, parsed(beside.encode("utf-8", "replace"), model, limits)


def _vector(found: Found) -> Response:
    space = found.space
    if space is None:
        raise TypeError("an answer without a vector")
    vectors: Any = space.vectors
    tokens = hasattr(vectors, "offsets")
    rows = np.asarray(vectors.vectors if tokens else vectors, dtype=np.float64)
    return answer({
        "version": 1, "frame": space.frame.id, "dim": space.frame.dim, "score": space.frame.score,
        "modality": found.source, "vector": None if tokens else rows[0].tolist(),
        "tokens": rows.tolist() if tokens else None, "index": found.live.name,
    })  # fmt: skip


# What is changed


def _writing(app: FastAPI, desk: Desk) -> None:
    limits, writer = desk.limits, Writer(desk)
    Id = Annotated[str, _path(limits.text)]

    async def served(change: Any, *given: Any) -> Response:
        made = await run_in_threadpool(change, *given)
        if made.changed:
            await desk.change()
        return answer(told_of(made))

    @app.put("/items", openapi_extra=_body(_JSON, body_schema()),
             summary="Put items, or others in their place; needs a token.")  # fmt: skip
    async def put(request: Request) -> Response:
        refuse_unguarded(desk)
        return await served(writer.put, parsed(await _json(request), PutBody, limits))

    @app.delete("/items/{item:path}", summary="Take an item out; needs a token.")
    async def delete(item: Id) -> Response:
        refuse_unguarded(desk)
        return await served(writer.delete, item)


# What is looked at


def _looking(app: FastAPI, desk: Desk) -> None:
    most = desk.limits.text
    Id = Annotated[str, _path(most)]

    @app.get("/items/{item:path}/media/{modality}", summary="A picture, a sound, or words.",
             response_class=Response, responses=_media())  # fmt: skip
    def media(
        request: Request,
        item: Id,
        modality: Id,
        part: Annotated[int, Query(ge=0, le=2_147_483_647)] = 0,
        size: Annotated[int, Query(ge=16, le=desk.limits.thumb)] = 320,
    ) -> Response:
        live = desk.live
        if modality not in live.kinds:
            raise Problem("not-found", "modality", f"{modality[:60]!r} is not bound", "see /info")
        live.row(item)
        found = desk.shelf.get(item, modality, part, size)
        headers = {
            "etag": found.etag, "cache-control": "private, max-age=300",
            "content-security-policy": "default-src 'none'; sandbox",
            "cross-origin-resource-policy": "same-origin", "accept-ranges": "bytes",
        }  # fmt: skip
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        try:
            span = cut(request.headers.get("range"), len(found.data))
        except ValueError:
            return Response(
                status_code=416, headers={"content-range": f"bytes */{len(found.data)}"}
            )
        if span is None:
            return Response(found.data, headers=headers, media_type=found.mime)
        headers["content-range"] = f"bytes {span[0]}-{span[1]}/{len(found.data)}"
        return Response(found.data[span[0] : span[1] + 1], 206, headers, found.mime)

    @app.get("/items/{item:path}", summary="An item: its label, metadata and modalities.")
    def item_(item: Id) -> Response:
        return answer(desk.live.item(item))

    @app.get("/items", summary="Some items, drawn by a seed.")
    def items(
        sample: Annotated[int, Query(ge=1, le=100)] = 12,
        seed: Annotated[int, Query(ge=0, le=2**31)] = 0,
    ) -> Response:
        live = desk.live
        ids = live.ws.items.ids
        drawn = np.random.default_rng(seed).permutation(len(ids))[:sample]
        return answer({"version": 1, "total": len(ids),
                       "items": [live.item(str(ids[row])) for row in drawn]})  # fmt: skip


def _path(most: int) -> Any:
    from fastapi import Path as InPath

    return InPath(min_length=1, max_length=most)


def _media() -> dict[int | str, dict[str, Any]]:
    kinds = ("image/webp", "audio/ogg", "audio/flac", "audio/wav", "audio/mpeg",
             "text/plain; charset=utf-8")  # fmt: skip
    schema = {"schema": {"type": "string", "format": "binary"}}
    return {200: {"description": "The media", "content": {kind: schema for kind in kinds}}}


# What is told


def _telling(app: FastAPI, desk: Desk, answers: Answers) -> None:
    @app.get("/info", summary="What is served: modalities, frame, filters, limits.")
    def info() -> Response:
        return answer({**described(desk), "answers": answers.about()})

    @app.get("/health", summary="Whether it answers.")
    async def health() -> Response:
        return answer({"status": "ok", "index": desk.live.name, "trouble": desk.trouble})

    @app.get("/metrics", summary="Figures for Prometheus.", response_class=Response)
    def metrics() -> Response:
        text = desk.metrics.text(len(desk.live.ws.items), desk.live.name)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def described(desk: Desk) -> dict[str, Any]:
    """What is served, as JSON; the keys are stable."""
    live = desk.live
    index, binding = live.index, live.fit.binding
    return {
        "version": 1, "software": _version(), "index": live.name, "frame": index.frame.id,
        "dim": index.frame.dim, "score": index.frame.score, "items": len(live.ws.items),
        "method": binding.choice.method if binding.choice else None, "hub": binding.hub,
        "modalities": [
            {"name": name, "kind": kind, "rows": len(index.spaces[name])
             if name in index.spaces else 0, "frame": binding.maps[name].source.id}
            for name, kind in live.kinds.items()
        ],
        "corrections": [
            {"query": q, "target": t, "method": c.method}
            for (q, t), c in index.corrections.items()
        ],
        "calibrated": [{"query": q, "target": t} for q, t in index.calibrations],
        "columns": live.columns, "limits": desk.limits.__dict__,
    }  # fmt: skip


# The page


def _page(app: FastAPI) -> None:
    files = {p.name: p.read_bytes() for p in sorted(PAGE.iterdir()) if p.suffix in TYPES}

    def sent(name: str) -> Response:
        if name not in files:
            raise Problem("not-found", "page", f"there is no {name[:60]!r}", "see /")
        kind = TYPES[Path(name).suffix]
        return Response(files[name], media_type=kind, headers={"cache-control": "no-cache"})

    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return sent("index.html")

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return sent("icon.svg")

    @app.get("/page/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        return sent(name)
