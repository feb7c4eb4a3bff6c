"""Write the default of every option of every command: ``python tests/golden/defaults.py``.

Run it after an option is added, renamed or given another default, and look at the difference:
it is what someone meets who types the command as before.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "defaults.json"


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command below one, with the words that call it."""
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from commands(below, (*path, name))
    else:
        yield " ".join(path), command


def default_of(option: Any) -> Any:
    """What stands where an option is not given, as JSON; ``required`` where nothing may."""
    if option.required:
        return "required"
    given = option.default() if callable(option.default) else option.default
    if given is not None and not isinstance(given, bool | int | float | str):
        return [str(each) for each in given] if isinstance(given, list | tuple) else str(given)
    return given


def table() -> dict[str, dict[str, Any]]:
    """Defaults by command and option; arguments by their name."""
    import typer

    from conjoin.cli.main import app

    return {
        words: {
            ", ".join([*option.opts, *option.secondary_opts]): default_of(option)
            for option in command.params
        }
        for words, command in sorted(commands(typer.main.get_command(app)))
    }


if __name__ == "__main__":
    HERE.write_text(json.dumps(table(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
