"""Catalogue rows of recipes and of the parts they are made of."""

from conjoin.models.pretraining.rows.parts import ROWS as PARTS
from conjoin.models.pretraining.rows.recipes import ROWS as RECIPES

ROWS = (*RECIPES, *PARTS)
