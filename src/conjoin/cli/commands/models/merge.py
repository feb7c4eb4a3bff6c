"""``conjoin model merge``: one encoder from several of one base."""

from pathlib import Path
from typing import Annotated

import typer

from conjoin.cli.console import Console
from conjoin.cli.options import Dry, Json, Quiet, Seed, verb

verbs = typer.Typer()


Base = Annotated[
    str, typer.Option(metavar="MODEL", help="What they were trained from: DIR, st:DIR, hf:DIR.")
]
SkillPairs = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=FILE", help="A table of text pairs, one a skill; evaluates."),
]
Judging = Annotated[
    Path | None,
    typer.Option(
        "--workspace", "-w", metavar="DIR",
        help="Judge on this workspace's items; by default where there is one here.",
    ),
]  # fmt: skip
Evaluate = Annotated[
    bool | None,
    typer.Option(
        "--evaluate/--no-evaluate", help="Choose and judge; where there is something to judge on."
    ),
]


@verb(verbs, "merge")
def merge(  # noqa: PLR0913 - each option is one the command line offers
    experts: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Folders or URIs of trained copies.")
    ],
    base: Base,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="A tensor-merge method, or auto.")
    ] = "auto",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="A setting: scale=0.5.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the result; must not exist.")
    ] = None,
    pairs: SkillPairs = None,
    folder: Judging = None,
    modality: Annotated[
        str | None, typer.Option(metavar="NAME", help="Text modality of the workspace.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Its classes; else its pairs.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say how the models differ; write nothing.")
    ] = False,
    evaluate: Evaluate = None,
    as_json: Json = False,
    dry_run: Dry = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Merge trained copies of one encoder into one, and say whether to use it.

    With pairs, or in a workspace, method and scale are chosen on validation lines and tested once
    on held-out ones, beside the base, each expert, their ensemble and the plain average. Without
    --out nothing is kept. conjoin merge joins the bindings of workspaces instead.
    """
    from conjoin.cli.actions.models.merge import run_merge
    from conjoin.project.models.merge import MergeAsk, settings_of
    from conjoin.project.models.merge_skills import Judge, read_skill, workspace_skills

    ask = MergeAsk(tuple(experts), base, method, settings_of(method, settings or ()), out, seed)
    skills: list[Judge] = [read_skill(one) for one in pairs or ()]
    if evaluate is not False and not explain:
        skills += workspace_skills(folder, modality, label, seed, others=bool(skills))
    judging = bool(skills) if evaluate is None else evaluate
    run_merge(
        ask, Console(as_json, quiet), skills=skills, explaining=explain, judging=judging,
        dry=dry_run,
    )  # fmt: skip


@verb(verbs, "store")
def store(  # noqa: PLR0913 - each option is one the command line offers
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the store.")],
    experts: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL...", help="Folders or URIs of trained copies."),
    ] = None,
    base: Annotated[
        str | None, typer.Option(metavar="MODEL", help="What they were trained from.")
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="NAME", help="shared-vector or sign-bits.")
    ] = "shared-vector",
    take: Annotated[
        str | None, typer.Option(metavar="EXPERT", help="Write this one back, to --out.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the expert taken.")
    ] = None,
    as_json: Json = False,
    dry_run: Dry = False,
    quiet: Quiet = False,
) -> None:
    """Keep trained copies of one encoder as a bit for each number, and take them out again.

    It says what each expert loses. The base is named by its hash and not copied. With a store
    alone it says what it holds.
    """
    from conjoin.cli.actions.models.store import StoreAsk, run_store

    ask = StoreAsk(folder, tuple(experts or ()), base, method, take, out)
    run_store(ask, Console(as_json, quiet), dry=dry_run)
