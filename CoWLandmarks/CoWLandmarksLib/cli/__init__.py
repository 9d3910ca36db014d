"""The command line: parsers and subcommands."""

THIRD_PARTY = ("numpy",)
