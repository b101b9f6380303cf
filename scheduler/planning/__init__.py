"""The pure heart: from the record to the plan. Standard library and `db.states` only; no session, no now()."""
