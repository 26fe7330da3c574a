"""
The command line: names and meanings of product contract, exit codes 0 done, 1 failed, 2 usage, 3 done with warnings.

`main` is the border where errors become one line. Commands import what they need when they run, so that `--help` and
short commands start at once.
"""
