"""Every event, one record each, grouped by subsystem."""
