"""Declarative workflows: many agents, one order."""
