"""The files a person writes: orders, agents, workflows, skills. Text in, records out, or every fault with its line.

    bytes --source--> nodes that know their line --shape--> plain values --order|agent|workflow|skill--> frozen records

Rule 1: a file is hostile until read: bounded in bytes and depth, no tags, no anchors, no invisible characters.
Rule 2: all faults are reported at once, each with file, line, field, what was expected, what was found.
Rule 3: nothing is guessed: an unknown field is a fault, never a silent default.
Rule 4: the description that checks a file is the one its published JSON Schema is made from.

Importing this package loads nothing; import the module of the document you read.
"""
