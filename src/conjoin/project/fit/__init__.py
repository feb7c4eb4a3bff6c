"""From a table's vectors to a fitted, calibrated and published binding."""
