"""Qdrant as another home of an index: a collection a modality."""

from pathlib import Path
from typing import Any

import numpy as np

from conjoin.errors import ConjoinError, optional
from conjoin.retrieval.index.export import Layout, payload_rows

#: Rows sent at a time.
BATCH = 512


class Qdrant:
    """Rows in collections named ``conjoin-MODALITY``; see ``Remote``.

    Parameters
    ----------
    client : a ``QdrantClient``.
    prefix : first part of the collections' names.
    server : whether it is one, which may be asked to search exactly; local mode always does.
    """

    def __init__(self, client: Any, prefix: str = "conjoin", *, server: bool = False):
        self.client, self.prefix, self.server = client, prefix, server

    @classmethod
    def at(cls, place: str, prefix: str = "conjoin") -> "Qdrant":
        """A server by its URL, a folder, or ``:memory:``."""
        module = optional("qdrant_client", "qdrant")
        if place.startswith(("http://", "https://")):
            return cls(module.QdrantClient(url=place), prefix, server=True)
        if place == ":memory:":
            return cls(module.QdrantClient(":memory:"), prefix)
        try:
            return cls(module.QdrantClient(path=str(Path(place))), prefix)
        except (RuntimeError, OSError) as error:
            raise ConjoinError(f"qdrant:{place}", str(error).splitlines()[0], "close it") from None

    def collection(self, layout: Layout) -> str:
        """The name of a modality's collection."""
        return f"{self.prefix}-{layout.target}"

    def push(self, layout: Layout) -> int:
        """Make the collection hold exactly these rows."""
        models = optional("qdrant_client.models", "qdrant")
        name, frame = self.collection(layout), layout.index.frame
        if self.client.collection_exists(name):
            held = self.client.get_collection(name).config.params.vectors.size
            if held != layout.width:
                self.client.delete_collection(name)
        if not self.client.collection_exists(name):
            shape = models.VectorParams(size=layout.width, distance=models.Distance.DOT)
            self.client.create_collection(name, vectors_config=shape)
        table = layout.payload()
        for first, rows in layout.rows():
            for at in range(0, len(rows), BATCH):
                part = rows[at : at + BATCH]
                start = first + at
                facts = payload_rows(table, start, start + len(part))
                points = [
                    models.PointStruct(id=start + i, vector=vector.tolist(),
                                       payload={**fact, "frame": frame.id})
                    for i, (vector, fact) in enumerate(zip(part, facts, strict=True))
                ]  # fmt: skip
                self.client.upsert(name, points=points)
        self._forget(name, len(table), models)
        return len(table)

    def _forget(self, name: str, rows: int, models: Any) -> None:
        """Remove points of an earlier, longer push."""
        late = self.client.count(name, exact=True).count - rows
        if late > 0:
            ids = list(range(rows, rows + late))
            self.client.delete(name, points_selector=models.PointIdsList(points=ids))

    def nearest(self, layout: Layout, queries: np.ndarray, k: int) -> list[list[tuple[int, float]]]:
        """Row numbers and scores, exactly.

        Raises
        ------
        ConjoinError : the collection is missing or of another frame.
        """
        name = self.collection(layout)
        if not self.client.collection_exists(name):
            raise ConjoinError(f"collection {name}", "is missing", "run: conjoin index push")
        models = optional("qdrant_client.models", "qdrant")
        exact = models.SearchParams(exact=True) if self.server else None
        found = []
        for line in queries:
            points = self.client.query_points(
                name, query=line.tolist(), limit=k, with_payload=["frame"],
                search_params=exact,
            ).points  # fmt: skip
            strange = {p.payload.get("frame") for p in points} - {layout.index.frame.id}
            if strange:
                raise ConjoinError(
                    f"collection {name}", f"is of frame {strange.pop()}", "run: conjoin index push"
                )
            found.append([(int(point.id), float(point.score)) for point in points])
        return found
