"""``conjoin model``: verbs that make or change the weights of encoders.

Each is declared in a file of its own in ``commands/models/`` and joins here in one line.
"""

import typer

from conjoin.cli.commands.models import merge as cli_merge
from conjoin.cli.commands.models import pretrain as cli_pretrain
from conjoin.cli.commands.models import tuning as cli_tuning

verbs = typer.Typer(help="Train, change and export the weights of encoders.", no_args_is_help=True)
verbs.add_typer(cli_pretrain.verbs)
verbs.add_typer(cli_tuning.verbs)
verbs.add_typer(cli_merge.verbs)
