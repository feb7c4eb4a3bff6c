"""How trained heads are trained, where a person says so for one fit."""

from collections.abc import Mapping

from conjoin.catalogue import find
from conjoin.errors import ConjoinError
from conjoin.project.workspace import Workspace

#: What is trained where only a loss, a sampler or a guide is named.
USUAL = "infonce-head"


def with_training(ws: Workspace, method: str | None, given: Mapping[str, str | None]) -> str | None:
    """Put a loss, a sampler and a guide over the configured fields; the method to fit.

    The configuration on disk stays as it is. Without a method named here or configured, it is
    the plain head, ``infonce-head``.

    Parameters
    ----------
    given : ``loss``, ``sampler`` and ``guide`` by name; ``None`` where not given.

    Raises
    ------
    ConjoinError : the method is not trained that way, or no such loss, sampler or modality.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    if not chosen:
        return method
    configured = ws.config.fit.method
    kept = method in (None, configured) and configured != "auto"
    method = method or (configured if kept else USUAL)
    for kind in ("loss", "sampler"):
        if kind in chosen:
            find(kind, chosen[kind])
    names = _fields(method)
    unknown = [name for name in chosen if name not in names]
    if unknown:
        raise ConjoinError(f"--{unknown[0]}", f"is no setting of {method}", f"use {USUAL}")
    fields = {**(ws.config.fit.fields if kept else {}), **chosen}
    part = ws.config.fit.model_copy(update={"method": method, "fields": fields})
    ws.config = ws.config.model_copy(update={"fit": part})
    return method


def _fields(method: str) -> set[str]:
    """Names of the settings of an aligner."""
    return set(getattr(find("aligner", method).load(), "__dataclass_fields__", {}))
