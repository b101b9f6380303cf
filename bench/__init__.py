"""Measurements: speed, size and memory side by side in one run. Nothing here is part of the program or of its tests."""
