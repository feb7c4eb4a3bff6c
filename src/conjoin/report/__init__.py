"""Hits as text and pages, cards, the report, plots, the bibliography."""
