"""Catalogue rows of heads and students."""

from conjoin.catalogue import Row

ROWS: tuple[Row, ...] = ()
