"""Every system call, one record each, grouped by subsystem."""
