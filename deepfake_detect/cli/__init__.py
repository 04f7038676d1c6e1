"""The command line: one module a subcommand, arguments in, library calls, words out.

Each module has ``HELP``, ``add_arguments(parser)`` and ``run(arguments) -> exit code``. Exit codes:
0 done; 1 an audit found a leak; 2 something the user gave could not be used, told in one line on
standard error; 130 interrupted.
"""

from deepfake_detect.cli.main import main

__all__ = ["main"]
