"""libc for agents: stubs, handles and typed channels over the boundary; raises refusals as exceptions."""
