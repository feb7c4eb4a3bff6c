"""What a bug report needs: versions, the machine, the workspace. No secrets, no paths."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, distributions, requires, version
from pathlib import Path
from typing import Any

from conjoin.errors import ConjoinError
from conjoin.project.workspace import CONFIG, Workspace

#: Variables that decide how many threads run, or where libraries may go for files.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def versions() -> dict[str, str]:
    """Python, conjoin and what it stands on."""
    names = ["conjoin", *(_name(line) for line in requires("conjoin") or () if ";" not in line)]
    found = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _name(line: str) -> str:
    for mark in "<>=!~[ ;(":
        line = line.split(mark)[0]
    return line


def machine() -> dict[str, Any]:
    """Platform, cores, memory, threads."""
    told: dict[str, Any] = {
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()) or "unknown",
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_gb": _memory(),
        "encoding": sys.getfilesystemencoding(),
    }
    told.update({name: os.environ[name] for name in THREADS if name in os.environ})
    try:
        from threadpoolctl import threadpool_info

        told["pools"] = ", ".join(
            f"{p['internal_api']} {p.get('version')} x{p['num_threads']}" for p in threadpool_info()
        )
    except ImportError:
        pass
    return told


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, OSError, ValueError):
        return None


def extras() -> dict[str, str]:
    """Each extra of conjoin: whether all of it is here, and versions of what is."""
    have = {str(d.metadata["Name"]).lower().replace("_", "-"): d.version for d in distributions()}
    told: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    for line in requires("conjoin") or ():
        need, _, rule = line.partition(";")
        if "extra ==" not in rule or need.startswith("conjoin"):
            continue
        extra = rule.split("extra ==")[1].strip().strip("\"'")
        name = _name(need.strip()).lower().replace("_", "-")
        side = told if name in have else missing
        side.setdefault(extra, []).append(f"{name} {have[name]}" if name in have else name)
    return {
        extra: ", ".join(told.get(extra, []) + [f"{n} missing" for n in missing.get(extra, [])])
        for extra in sorted({*told, *missing}) if extra != "dev"
    }  # fmt: skip


def workspace(folder: Path) -> dict[str, Any] | None:
    """The workspace's name, its modalities, what is fitted, and the size of its state."""
    if not (folder / CONFIG).exists():
        return None
    told: dict[str, Any] = {"name": folder.resolve().name}
    try:
        ws = Workspace(folder, writes=False)
        told["items"] = len(ws.items)
        for modality in ws.modalities:
            told[f"modality {modality.name}"] = (
                f"{_scheme(modality.uri)}, {_rows(ws, modality.name)}"
            )
        told["fit"] = _fit(ws)
        told["faults"] = _faults(ws)
        told["files"] = f"{len(told['faults'])} faults" if told["faults"] else "all as written"
        told["state_mb"] = round(
            sum(f.stat().st_size for f in ws.state.rglob("*") if f.is_file()) / 1e6, 1
        )
    except ConjoinError as error:
        told["problem"] = str(error).replace(str(folder), told["name"])
    return told


def _scheme(uri: str) -> str:
    """An encoder's name without a path or address that would tell of its user."""
    scheme, _, rest = uri.partition(":")
    told = rest.split("?")[0] if scheme in ("builtin", "hf", "st") else "…"
    return f"{scheme}:{'…' if told.startswith(('/', '.', '~')) else told}"


def _rows(ws: Workspace, name: str) -> str:
    try:
        store = ws.store(name)
        space = store.open()
        return "not embedded" if space is None else (
            f"{len(space)} rows of {space.dim}, {len(store.failed())} failed"
        )  # fmt: skip
    except (ConjoinError, OSError) as error:
        return f"cannot be opened ({type(error).__name__})"


def _faults(ws: Workspace) -> list[str]:
    """Files of the state that are not what was written, each with its remedy."""
    from conjoin.project.state.check import problems

    return [str(problem) for problem in problems(ws)]


def _fit(ws: Workspace) -> str:
    from conjoin.project.fit.stored import fit_as_it_is

    try:
        binding = fit_as_it_is(ws).binding
    except ConjoinError:
        return "none"
    return f"{binding.choice.method}, hub {binding.hub}, of {', '.join(binding.maps)}"
