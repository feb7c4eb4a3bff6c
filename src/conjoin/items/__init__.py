"""Items: tables and folders, cells, splits, the workspace file and the bundled sample."""

from conjoin.items.bundled import sample_path
from conjoin.items.cells import cell_parts, content_hash, resolve
from conjoin.items.config import Config, write_schema
from conjoin.items.items import Items
from conjoin.items.reading.guess import guess
from conjoin.items.reading.table import read_table
from conjoin.items.split import Split, make_split

__all__ = [
    "Config",
    "Items",
    "Split",
    "cell_parts",
    "content_hash",
    "guess",
    "make_split",
    "read_table",
    "resolve",
    "sample_path",
    "write_schema",
]
