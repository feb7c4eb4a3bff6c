"""Catalogue rows of fusions."""

from conjoin.catalogue import Row

ROWS: tuple[Row, ...] = ()
