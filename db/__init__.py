"""What is stored: tables, queries, encryption, audit and migrations.

No policy, no clock and no e-mail live here; those are in `scheduler`.
"""
