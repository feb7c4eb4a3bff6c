"""The index of a workspace: bound vectors, their corrections, where they lie."""

from collections.abc import Mapping

from conjoin.app.fits import Fit
from conjoin.app.workspace import Workspace
from conjoin.catalogue import find
from conjoin.search.evaluation import bank_of
from conjoin.search.index import Index
from conjoin.spaces import Pairs, Space


def build_index(ws: Workspace, made: Fit, spaces: Mapping[str, Space], train: Pairs) -> Index:
    """Bind what is not yet bound and save it beside what is."""
    folder = ws.state / "index" / made.folder.name
    bound = {
        name: made.binding.bind(name, space)
        for name, space in spaces.items()
        if name in made.binding.maps
    }
    fitted = {}
    for (query, target), name in made.corrections.items():
        bank = bank_of(made.binding, spaces, train, query)
        fitted[query, target] = find("correction", name).make().fit(bound[target].vectors, bank)
    index = Index.build(bound, corrections=fitted)
    index.save(folder)
    return index


def open_index(ws: Workspace) -> Index:
    """The index in use."""
    return Index.open(ws.state / ws.current["index"])
