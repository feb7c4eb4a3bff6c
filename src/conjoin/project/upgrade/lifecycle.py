"""Another encoder for one modality of a workspace: planned on a sample, applied, undone."""

import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from conjoin.alignment import guards
from conjoin.alignment.binding import Binding
from conjoin.catalogue import find
from conjoin.encoders.open import kind_of
from conjoin.encoders.run import encode
from conjoin.errors import ConjoinError, nearest
from conjoin.project.fit.multi_part import EACH
from conjoin.project.fit.stored import AGAIN, current_fit, open_fit, stale, write_facts
from conjoin.project.search.index import keep_index, open_index
from conjoin.project.upgrade import state
from conjoin.project.upgrade.sample_embedding import drawn, embed_some
from conjoin.project.workspace import CONFIG, Workspace
from conjoin.retrieval.calibration.policy import Rules
from conjoin.retrieval.index.index import Index
from conjoin.spaces import Pairs, Space, Tokens
from conjoin.storage.digest import digest
from conjoin.storage.files import read_json
from conjoin.upgrade.options import Arm, Curve, Rates
from conjoin.upgrade.plan import Fits, Sample, curve, expected_gains, moved, placings, turned
from conjoin.upgrade.recalibrate import Change, merged, refitted
from conjoin.upgrade.refit import Way, learns_labels, upgraded

#: Rows of the sample that stand for the new encoder later on.
PROBES = 8
ARMS = ("bridge", "cascade", "partial", "re-embed")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Wanted:
    """What is asked of an upgrade.

    Parameters
    ----------
    modality, uri : whose encoder, and which instead.
    sample : items at most that are embedded to plan.
    price : money for a thousand cells.
    queries, top : that a cascade's cost is told for; hits it encodes anew.
    bridge : an aligner's name; chosen when not given.
    labels : a column of classes, for bridges that learn from labels.
    """

    modality: str
    uri: str
    sample: int = 1000
    price: float | None = None
    queries: int = 1000
    top: int = 20
    bridge: str | None = None
    seed: int = 0
    labels: str | None = None


def newer(ws: Workspace, wanted: Wanted) -> Workspace:
    """The workspace as it would be with the new encoder; nothing is written.

    Raises
    ------
    ConjoinError : the modality is unknown or not bound, or the encoder cannot read its column.
    """
    made = current_fit(ws)
    modality = ws.modality(wanted.modality)
    if wanted.modality not in made.binding.maps:
        raise ConjoinError(
            "--modality", f"{wanted.modality!r} is not bound",
            nearest(wanted.modality, made.binding.maps),
        )  # fmt: skip
    if modality.parts != EACH:
        raise ConjoinError(
            "--modality", f'{wanted.modality!r} has parts = "{modality.parts}": an upgrade works '
            "part by part", "name the new encoder in conjoin.toml, then: conjoin embed, conjoin fit"
        )  # fmt: skip
    if wanted.uri == modality.uri:
        raise ConjoinError("--to", f"{wanted.uri} is the encoder in use", "name another")
    before, after = kind_of(modality.uri), kind_of(wanted.uri)
    if before != after:
        raise ConjoinError("--to", f"{wanted.uri} reads {after}, the column is {before}",
                           "name an encoder of that kind")  # fmt: skip
    text = (ws.folder / CONFIG).read_text(encoding="utf-8")
    return state.other_workspace(
        ws, state.with_encoder(text, wanted.modality, wanted.uri, ws.folder / CONFIG)
    )


def sampled(
    ws: Workspace,
    after: Workspace,
    name: str,
    items: Collection[str] | None,
    held: Mapping[str, Space] | None = None,
    labels: str | None = None,
) -> Sample:
    """What the index holds, and the new vectors of some items or of all that have one.

    Parameters
    ----------
    held : bound vectors instead of those of the index in use.
    labels : a column of classes.
    """
    made = current_fit(ws)
    held = open_index(ws).spaces if held is None else held
    if any(isinstance(space.vectors, Tokens) for space in held.values()):
        raise ConjoinError(
            f"modality {name}", "the index holds token sets", "embed and fit again: conjoin fit"
        )
    new = after.store(name).open()
    if new is None:
        raise ConjoinError(f"modality {name}", "no cell could be read", "check the encoder")
    new = new.pooled() if items is None else new.pooled().of_items(list(items))
    bound = {n: space for n, space in held.items() if n in made.binding.maps}
    new = new.take(np.isin(new.ids, bound[name].ids))
    raw = {n: ws.space(n).pooled() for n in bound if n != name}
    for other, space in raw.items():
        if space.frame != made.binding.maps[other].source:
            raise stale(other)
    rows = {n: _rows_of(bound[n], space) for n, space in raw.items()}
    train, test = ws.pairs(bound)
    groups = dict(zip(map(str, ws.items.ids), map(str, ws.items.groups(ws.config)), strict=True))
    classes = {} if labels is None else classes_of(ws, labels)
    return Sample(name, made.binding, bound, raw, new, train, test, rows, groups, classes)


def classes_of(ws: Workspace, column: str) -> dict[str, str]:
    """The class of each item, by a column of the table.

    Raises
    ------
    ConjoinError : there is no such column.
    """
    if column not in ws.items.names:
        raise ConjoinError("--labels", f"no column {column!r}", nearest(column, ws.items.names))
    values = zip(ws.items.ids, ws.items.column(column), strict=True)
    return {str(item): str(value) for item, value in values if value is not None and value != ""}


def check_bridge(wanted: Wanted) -> Way | None:
    """The bridge that is asked for, before anything is embedded; ``None`` where none is named.

    Raises
    ------
    ConjoinError : it is unknown, is no bridge, or learns from labels and none are given.
    """
    if wanted.bridge is None:
        if wanted.labels is not None:
            raise ConjoinError("--labels", "no bridge that learns from them is named",
                               "name one: --bridge cores")  # fmt: skip
        return None
    way = Way(wanted.bridge)
    row = find("aligner", wanted.bridge)
    if row.needs - {"pairs", "labels"} or wanted.bridge == "identity":
        raise ConjoinError(
            "--bridge", f"{wanted.bridge} maps no encoder to another by pairs",
            "take one such as ridge, or leave it out",
        )  # fmt: skip
    if learns_labels(way) != (wanted.labels is not None):
        found = "learns from labels" if learns_labels(way) else "does not learn from labels"
        remedy = (
            "name their column: --labels COLUMN" if learns_labels(way) else "leave out --labels"
        )
        raise ConjoinError("--bridge", f"{wanted.bridge} {found}", remedy)
    return way


def _rows_of(bound: Space, raw: Space) -> np.ndarray:
    at = {
        key: row for row, key in enumerate(zip(raw.ids.tolist(), raw.parts.tolist(), strict=True))
    }
    keys = zip(bound.ids.tolist(), bound.parts.tolist(), strict=True)
    return np.array([at.get(key, -1) for key in keys], dtype=np.int64)


def plan(ws: Workspace, wanted: Wanted, progress: Progress | None = None) -> Curve:
    """Measure every way to upgrade on a sample, and keep the plan.

    Raises
    ------
    ConjoinError : a guard trips, or the sample is too small.
    """
    after = newer(ws, wanted)
    way = check_bridge(wanted)
    if wanted.labels is not None:
        classes_of(ws, wanted.labels)
    index = open_index(ws)
    items = drawn(index.spaces[wanted.modality], wanted.sample, wanted.seed)
    seconds = embed_some(after, wanted.modality, items, progress)
    sample = sampled(ws, after, wanted.modality, items, labels=wanted.labels)
    check_sampled(sample)
    rates = Rates(seconds, len(sample.bound[wanted.modality]), wanted.queries, wanted.top,
                  wanted.price)  # fmt: skip
    found = curve(sample, rates, way=way, seed=wanted.seed)
    made = current_fit(ws)
    state.write_plan(ws, {
        "modality": wanted.modality, "uri": wanted.uri, "seed": wanted.seed, "items": items,
        "fit": made.folder.name, "frame": sample.new.frame.to_json(), "price": wanted.price,
        "labels": wanted.labels,
        **found.to_json(),
    })  # fmt: skip
    return found


def check_sampled(sample: Sample) -> None:
    """The guards of a sample: its ids in order, and like the collection.

    Raises
    ------
    ConjoinError : one trips.
    """
    own = np.asarray(sample.bound[sample.name].vectors, np.float32)
    new = np.asarray(sample.new.vectors, np.float32)
    guards.check_ids(own[sample.rows], new)
    rest = np.setdiff1d(np.arange(len(own)), sample.rows)
    guards.check_sample(own[sample.rows], own[rest])


# Applying


@dataclass(frozen=True, eq=False)
class Applied:
    """What an upgrade did."""

    arm: str
    label: str
    folder: str
    embedded: int
    notes: tuple[str, ...] = ()


def chosen_arm(plan: Mapping[str, Any], name: str | None, **more: Any) -> dict[str, Any]:
    """The arm of a plan to apply.

    Raises
    ------
    ConjoinError : the plan says stay and none is named, or none is like that.
    """
    if name is None and not any(v is not None for v in more.values()):
        if plan["recommendation"] == "stay":
            raise ConjoinError(
                "upgrade", f"the plan says stay: {plan['reason']}",
                "name an arm to upgrade all the same: --arm",
            )  # fmt: skip
        return dict(plan["recommended"])
    name = name or plan["recommended"]["name"]
    if name not in ARMS:
        raise ConjoinError("--arm", f"{name!r} is none that is applied", nearest(name, ARMS))
    asked = {key: value for key, value in more.items() if value is not None}
    same = [arm for arm in plan["arms"] if arm["name"] == name]
    if name == "partial" and "share" in asked:
        share = asked.pop("share")
        if not 0 < share < 1:
            raise ConjoinError("--share", f"{share}", "give a share between 0 and 1")
        near = min(same, key=lambda arm: abs(arm["share"] - share))
        same = [{**near, "share": share}]
    fit = [arm for arm in same if all(arm.get(k) == v for k, v in asked.items())]
    if not fit:
        raise ConjoinError("--arm", f"{name} with {asked} was not planned", "run the plan again")
    return dict(max(fit, key=lambda arm: arm["value"]))


def apply(ws: Workspace, arm: Mapping[str, Any], progress: Progress | None = None) -> Applied:
    """Upgrade: embed what the arm needs, fit, write a new index beside, publish.

    Stopped anywhere, the next call goes on. Until the new index is published every query is
    answered by the old; between the two files that publish it, the encoder and the fit in use
    disagree and search refuses.

    Raises
    ------
    ConjoinError : nothing is planned, the plan is of another fit, a guard trips, or another process
        is changing what is in use.
    """
    with ws.changing():  # a row deleted meanwhile would be in the new index
        return _applied(ws, arm, progress)


def _applied(ws: Workspace, arm: Mapping[str, Any], progress: Progress | None) -> Applied:
    planned = state.read_plan(ws)
    job = state.read_job(ws)
    if job is not None and job["step"] == "done" and planned["fit"] == job["key"]:
        state.drop_job(ws)  # planned anew since: one more upgrade, of what that one made
        job = None
    if job is not None and job["step"] == "done":
        raise ConjoinError(
            "upgrade", f"{job['modality']} was upgraded already", "verify it, or roll it back first"
        )
    if job is None:
        if ws.current["maps"] != f"maps/{planned['fit']}":
            raise ConjoinError(
                "upgrade", "the plan is of another fit", "plan again: conjoin upgrade plan"
            )
        job = {"modality": planned["modality"], "uri": planned["uri"], "arm": dict(arm),
               "step": "begun", "plan": digest(planned["items"])}  # fmt: skip
        state.keep_before(ws)
        state.keep_plan(ws, planned)
        state.write_job(ws, job)
    return _go_on(ws, planned, job, progress)


def _go_on(
    ws: Workspace, planned: Mapping[str, Any], job: dict[str, Any], progress: Progress | None
) -> Applied:
    arm, name = job["arm"], job["modality"]
    if job["step"] == "begun":
        after = newer(ws, Wanted(name, job["uri"]))
        made = _built(ws, after, planned, job, progress)
        job = {**job, **made, "step": "built"}
        state.write_job(ws, job)
    _publish(ws, job)
    state.write_job(ws, {**job, "step": "done"})
    notes = (job.get("note", ""), *_notes(name, arm))
    return Applied(arm["name"], label_of(arm), job["key"], job["embedded"],
                   tuple(filter(None, notes)))  # fmt: skip


def label_of(arm: Mapping[str, Any]) -> str:
    """What people call an arm of a plan."""
    known = {key: value for key, value in arm.items() if key in Arm.__dataclass_fields__}
    return Arm(**known).label


def _notes(name: str, arm: Mapping[str, Any]) -> tuple[str, ...]:
    """What else changed."""
    found = []
    if arm["name"] in ("bridge", "cascade", "partial"):
        found.append(
            f"rows of {name} that were not embedded anew stay as the old encoder left them; "
            "conjoin fit would drop them: embed them first"
        )
    return tuple(found)


def to_be_embedded(ws: Workspace, wanted: Wanted) -> int:
    """How many items a plan would embed at most."""
    newer(ws, wanted)
    return len(drawn(open_index(ws).spaces[wanted.modality], wanted.sample, wanted.seed))


def _built(
    ws: Workspace, after: Workspace, planned: Mapping[str, Any], job: Mapping[str, Any],
    progress: Progress | None,
) -> dict[str, Any]:  # fmt: skip
    """Embed, fit and write the new fit and index beside those in use."""
    arm, name, seed = job["arm"], job["modality"], int(planned["seed"])
    items = planned["items"]
    sample = sampled(ws, after, name, items, labels=planned.get("labels"))
    check_probes(after, sample, planned)
    chosen = _to_embed(sample, planned, arm)
    if chosen:
        embed_some(after, name, [*items, *chosen], progress)
    whole = sampled(
        ws, after, name, None if arm["name"] == "re-embed" else [*items, *chosen],
        labels=planned.get("labels"),
    )  # fmt: skip
    way = Way(planned["bridge"]["method"], planned["bridge"]["toward"])
    binding, bound = _placed(whole, arm, way, seed)
    _check_bridge(whole, binding, arm)
    key = digest([planned["fit"], job["uri"], dict(arm), job["plan"]])
    folder = ws.state / "maps" / key
    binding.save(folder)
    if arm["name"] == "cascade":
        again = moved(whole, seed)
        if again is not None:
            again.save(folder / AGAIN)
    old = state.raw_of(ws, name, whole.bound[name], whole.binding.maps[name].source)
    moves = arm.get("others") == "move"
    change = Change(whole, binding, bound, arm["name"], moves, way, old, seed)
    rules, fresh, note = rescored(ws, change)
    _write_fit(ws, folder, rules, name, arm, int(planned.get("top", 20)))
    keep_index(after, open_fit(folder), fresh, {}, Pairs((name,), np.empty((0, 1), np.int64)))
    return {"key": key, "embedded": len(chosen), "note": note}


def rescored(ws: Workspace, change: Change) -> tuple[Rules, Index, str]:
    """Corrections, calibrations and mixing decided anew, and the index that has them.

    Where they cannot be, those of directions with the upgraded modality are left out, and the
    note says why: what was tuned to scores of before would mislead.
    """
    name, before, index = change.sample.name, current_fit(ws).rules, open_index(ws)
    try:
        after, corrected = refitted(change)
        note = (
            f"corrections, calibrations and thresholds of directions with {name} were fitted anew"
        )
    except ConjoinError as error:
        after, corrected = Rules(), {}
        note = (
            f"corrections and calibrations of directions with {name} are left out, as they could "
            f"not be fitted anew: {error}"
        )
    rules = after if change.moves else merged(before, after, name)
    if not change.moves:
        kept = {e: c for e, c in index.corrections.items() if name not in e}
        corrected = kept | {e: c for e, c in corrected.items() if name in e}
    serving = rules.serving(change.bound)
    if not change.moves:
        serving |= {e: c for e, c in index.calibrations.items() if name not in e}
    made = Index.build(change.bound, corrected, calibrations=serving, mixing=rules.mixing)
    return rules, made, note


def _to_embed(sample: Sample, planned: Mapping[str, Any], arm: Mapping[str, Any]) -> list[str]:
    """Items to embed beside the sample: all, or those from which most is expected."""
    ids = list(dict.fromkeys(map(str, sample.bound[sample.name].ids)))
    if arm["name"] == "re-embed":
        return ids
    if arm["name"] != "partial":
        return []
    way = Way(planned["bridge"]["method"], planned["bridge"]["toward"])
    kept = upgraded(
        sample.binding, sample.name, sample.bound, sample.new, sample.lines, way=way,
        seed=int(planned["seed"]), labels=sample.classes(sample.new),
    )  # fmt: skip
    gains = expected_gains(sample, placings(sample, Fits(kept, None, None, way, {})))
    worth = _spread(sample, gains)
    order = sorted(range(len(ids)), key=lambda k: (-worth[ids[k]], k))
    return [ids[k] for k in order[: round(float(arm["share"]) * len(ids))]]


def _spread(sample: Sample, gains: np.ndarray) -> dict[str, float]:
    """The gain expected of every item, from the sample's rows nearest to it by the old vectors."""
    from conjoin.spaces.frame import unit

    x = unit(np.asarray(sample.bound[sample.name].vectors, np.float32))
    near = x @ x[sample.rows].T
    best = np.argpartition(-near, min(10, near.shape[1] - 1), axis=1)[:, :10]
    value = gains[best].mean(axis=1)
    found: dict[str, float] = {}
    for item, gain in zip(sample.bound[sample.name].ids.tolist(), value.tolist(), strict=True):
        found[item] = max(gain, found.get(item, float("-inf")))
    return found


def _placed(
    whole: Sample, arm: Mapping[str, Any], way: Way, seed: int
) -> tuple[Binding, dict[str, Space]]:
    """The new binding, and where every indexed row then lies."""
    name = whole.name
    if arm.get("others") == "move":
        bridge = arm["name"] == "bridge"
        made = turned(whole, seed, way) if bridge else moved(whole, seed)
        if made is None:
            raise ConjoinError("upgrade", "no frame of its own can be fitted", "take another arm")
        own = made.bind("old", whole.bound[name]) if bridge else made.bind(name, whole.new)
        bound = {name: own, **{n: made.bind(n, whole.raw[n]) for n in whole.others}}
        maps = {n: m for n, m in made.maps.items() if n != "old"}
        return replace(made, maps=maps), bound
    made = upgraded(
        whole.binding, name, whole.bound, whole.new, whole.lines, way=way, seed=seed,
        labels=whole.classes(whole.new),
    )  # fmt: skip
    if arm["name"] in ("bridge", "cascade"):
        return made, dict(whole.bound)
    own = whole.bound[name]
    vectors = np.array(np.asarray(own.vectors, np.float32))
    vectors[whole.rows] = np.asarray(made.bind(name, whole.new).vectors)
    return made, {**whole.bound, name: replace(own, vectors=vectors)}


def _check_bridge(whole: Sample, binding: Binding, arm: Mapping[str, Any]) -> None:
    """The new map leads where it should, on rows nothing was fitted to."""
    if arm.get("others") == "move":
        return
    held = whole.held
    own = np.asarray(whole.bound[whole.name].vectors, np.float32)[whole.rows[held]]
    x = np.asarray(whole.new.vectors, np.float32)
    guards.check_direction(binding.maps[whole.name], x[held], own)
    fitted = whole.lines.column("new")
    guards.check_use(x[np.unique(fitted)], x[held])


def check_probes(after: Workspace, sample: Sample, planned: Mapping[str, Any]) -> None:
    """The new encoder still gives the vectors that were planned with."""
    name = sample.name
    frame = after.encoder(name).frame
    if frame.id != planned["frame"]["id"]:
        raise ConjoinError(
            "--to", "the new encoder changed since the plan", "plan again: conjoin upgrade plan"
        )
    encoder = after.encoder(name)
    cells = after.cells(name, encoder.kind)
    rows = np.arange(min(PROBES, len(sample.new)))
    keys = [(str(sample.new.ids[r]), int(sample.new.parts[r])) for r in rows]
    made = encode(encoder, [cells.get(*key) for key in keys])
    now: Any = made.vectors
    if made.failed or isinstance(now, Tokens):
        return
    guards.check_encoder(name, np.asarray(sample.new.vectors)[rows], np.asarray(now))


def _write_fit(
    ws: Workspace, folder: Path, rules: Rules, name: str, arm: Mapping[str, Any], top: int
) -> None:
    """The fit's rules as they are now, and what was done."""
    old = current_fit(ws).folder
    raw = dict(read_json(old / "fit.json", ["corrections"]))
    raw["corrections"] = [[*edge, one.name] for edge, one in sorted(rules.correctors.items())]
    raw["rules"] = rules.to_json()
    raw["upgrade"] = {"modality": name, "arm": dict(arm), "top": top}
    for card in old.glob("card.*"):
        shutil.copyfile(card, folder / card.name)
    write_facts(folder, raw)


def _publish(ws: Workspace, job: Mapping[str, Any]) -> None:
    """Name the new encoder, then the new fit and index; safe to repeat."""
    before = (state.before_folder(ws) / CONFIG).read_text(encoding="utf-8")
    text = state.with_encoder(before, job["modality"], job["uri"], ws.folder / CONFIG)
    if (ws.folder / CONFIG).read_text(encoding="utf-8") != text:
        state.write_config(ws, text)
    ws.publish({"maps": f"maps/{job['key']}", "index": f"index/{job['key']}"})


def rollback(ws: Workspace) -> list[str]:
    """Put back what was in use before the upgrade, byte for byte.

    The vectors of the new encoder stay, as a later plan may use them. So do the fit and index
    that were made: a service may be answering from them until it looks; ``conjoin clean`` removes
    them.

    Raises
    ------
    ConjoinError : nothing was applied.
    """
    job = state.read_job(ws)
    if job is None:
        raise ConjoinError("upgrade", "nothing was applied", "run: conjoin upgrade apply")
    written = state.put_back(ws)
    state.drop_job(ws)
    return written
