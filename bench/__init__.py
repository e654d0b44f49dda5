"""Measurements of the system against the disk it runs on and against its peers. `make bench`, or `python -m bench`."""
