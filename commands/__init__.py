"""The command line, split by noun: parse, call one use case, print. `service.py` puts the parts together."""
