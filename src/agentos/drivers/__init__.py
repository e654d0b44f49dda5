"""Devices, flat, named port_device and found by entry points. A driver knows no other driver."""
