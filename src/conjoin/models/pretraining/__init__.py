"""Encoders trained from parts: cells, stems, bodies, masks, targets and the recipes of them."""
