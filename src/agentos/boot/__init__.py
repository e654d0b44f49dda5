"""The composition root: which drivers serve which ports."""
