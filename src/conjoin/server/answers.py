"""Questions to the documents that are served: one answer, or its sentences as they come."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from conjoin.answering.answer import Answer
from conjoin.answering.model import Model
from conjoin.answering.support import Support
from conjoin.errors import ConjoinError
from conjoin.project.answering.ask import Documents
from conjoin.server.limits import Limits, Problem
from conjoin.server.requests import NOT_BLANK, Ask, Piece, Words
from conjoin.server.session import Live, media_path
from conjoin.server.state import Desk

#: What lines of a stream are.
STREAM = "application/x-ndjson"


class QuestionBody(BaseModel):
    """A question to the documents."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: Words = Field(description="What you want to know.", pattern=NOT_BLANK)
    history: list[Words] = Field(
        default_factory=list, description="Earlier questions of this conversation, in order."
    )
    selector: Words | None = Field(None, description="What chooses the evidence, by name.")
    stream: bool = Field(
        False, description="Lines of JSON: each sentence as it is written, then the answer."
    )


class _Gone(Exception):
    """The client left: nobody waits for the rest."""


class Answers:
    """The documents in use, opened once for each index, and a bound on how many ask at once."""

    def __init__(self, desk: Desk):
        self.desk, self.limits = desk, desk.limits
        self.model: Model | None = None
        if desk.settings.model:
            made = Model.open(desk.settings.model)
            self.model = replace(made, seconds=min(made.seconds, self.limits.request_seconds))
        self._open: tuple[Live, Documents | None] | None = None
        self._opening = asyncio.Lock()
        self._asked = 0

    def about(self) -> dict[str, Any]:
        """Whether questions are answered here, and by what; the keys are stable."""
        held = has_documents(self.desk.live)
        return {"documents": held, "model": self.model.name if self.model and held else None}

    async def warm(self) -> None:
        """Open the documents before the first question."""
        if has_documents(self.desk.live):
            await self.documents()

    async def documents(self) -> Documents:
        """The documents of the index in use.

        Raises
        ------
        Problem : the table served is not one that ``conjoin read`` wrote.
        """
        live = self.desk.live
        async with self._opening:
            if self._open is None or self._open[0] is not live:
                self._open = (live, await run_in_threadpool(_opened, live))
        if self._open[1] is None:
            raise Problem("not-found", "documents", "none are served here",
                          "serve a table that conjoin read wrote")  # fmt: skip
        return self._open[1]

    def check(self, body: QuestionBody) -> None:
        """Refuse what is too long.

        Raises
        ------
        Problem : a limit is passed.
        """
        most = self.limits.text
        for name, texts in (
            ("question", [body.question]),
            ("history", body.history),
            ("selector", [body.selector or ""]),
        ):
            longest = max(map(len, texts), default=0)
            if longest > most:
                raise Problem("bad-argument", name, f"{longest} characters, more than {most}",
                              "ask for less")  # fmt: skip
        if len(body.history) > self.limits.history:
            found = f"{len(body.history)} questions, more than {self.limits.history}"
            raise Problem("bad-argument", "history", found, "send the last ones")

    async def ask(self, body: QuestionBody, heard: Any = None) -> dict[str, Any]:
        """One answer as JSON.

        Raises
        ------
        Problem : too many are asking, there are no documents, or the model fails.
        """
        if self._asked >= self.limits.answers:
            self.desk.metrics.add("conjoin_busy_total")
            raise Problem("busy", "server", f"{self._asked} questions are being answered",
                          "ask again")  # fmt: skip
        self._asked += 1
        try:
            documents = await self.documents()
            loop = asyncio.get_running_loop()

            def read(words: str, source: str | None) -> np.ndarray:
                """Read where searches are read, so that an encoder has one thread."""
                ask = Ask((Piece("text", words, 1.0, source),), only_vector=True)
                found = asyncio.run_coroutine_threadsafe(self.desk.ask(ask), loop).result()
                return np.asarray(found.space.vectors[0])  # type: ignore[union-attr]

            try:
                found = await run_in_threadpool(
                    documents.ask, body.question, model=self.model, history=tuple(body.history),
                    heard=heard, read=read, selector=body.selector or "",
                )  # fmt: skip
            except ConjoinError as error:
                if self.model is None or error.where != self.model.base:
                    raise
                # Where it stands is the server's business; what went wrong is said in its log.
                raise Problem("busy", "model", error.found, "ask again in a moment") from None
        finally:
            self._asked -= 1
        return told(found, self.desk.live)

    async def stream(self, body: QuestionBody) -> AsyncIterator[bytes]:
        """Lines: ``{"sentence": …}`` each, then ``{"answer": …}`` or ``{"problem": …}``."""
        loop = asyncio.get_running_loop()
        lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        gone = False

        def heard(said: Support) -> None:
            if gone:
                raise _Gone
            loop.call_soon_threadsafe(lines.put_nowait, {"sentence": said.to_json()})

        async def work() -> None:
            try:
                await lines.put({"answer": await self.ask(body, heard)})
            except _Gone:
                pass
            except ConjoinError as error:
                await lines.put({"problem": Problem.of(error).to_json()})
            except Problem as problem:
                await lines.put({"problem": problem.to_json()})
            except Exception as error:
                defect = Problem("defect", "server", type(error).__name__, "see the server's log")
                await lines.put({"problem": defect.to_json()})
            await lines.put(None)

        task = asyncio.create_task(work())
        try:
            while (line := await lines.get()) is not None:
                yield json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        finally:
            gone = True
            if task.done():
                task.result()


def schema_of_question(limits: Limits) -> dict[str, Any]:
    """The JSON schema of a question, with the limits in force."""
    schema = QuestionBody.model_json_schema()
    words = {"maxLength": limits.text, "pattern": NOT_BLANK}
    schema["properties"]["question"] |= words
    schema["properties"]["selector"]["anyOf"][0] |= words
    schema["properties"]["history"] |= {"maxItems": limits.history}
    schema["properties"]["history"]["items"] |= {"maxLength": limits.text}
    return schema


def has_documents(live: Live) -> bool:
    """Whether the table served is one that ``conjoin read`` wrote."""
    return Documents.can_open(live.ws)


def _opened(live: Live) -> Documents | None:
    if not has_documents(live):
        return None
    documents = Documents.open(live.ws, live.session)
    _ = documents.words, documents.gates  # what the first question would wait for
    return documents


def told(found: Answer, live: Live) -> dict[str, Any]:
    """An answer as JSON; pieces that have a picture say where it is served."""
    said = found.to_json()
    pictures = live.index.spaces.get("picture")
    held = set() if pictures is None else set(map(str, pictures.ids))
    for one in (*said["quotes"], *said["evidence"]):
        one["media"] = media_path(one["id"], "picture") if one["id"] in held else None
    return {**said, "index": live.name}
