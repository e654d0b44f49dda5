"""The demonstration's repository: four small modules, each with a bug, and tests that say so. Data only.

Three of the bugs are within reach of a small model. `arithmetic.evaluate` is not: it wants a parser, and shows what the
gate does with a model that only seems to have written one.
"""
