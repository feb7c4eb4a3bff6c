"""Catalogue rows of heads, adaptations and students."""

from conjoin.catalogue import Row
from conjoin.transfer.rows.adaptation import ADAPTATIONS
from conjoin.transfer.rows.few_shot import FEW_SHOT
from conjoin.transfer.rows.heads import HEADS, SIMPLE
from conjoin.transfer.rows.students import STUDENTS

ROWS: tuple[Row, ...] = (*SIMPLE, *HEADS, *FEW_SHOT, *ADAPTATIONS, *STUDENTS)
