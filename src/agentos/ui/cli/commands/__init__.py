"""The commands, one module for each family. `agentos.ui.cli.table` says which is where."""
