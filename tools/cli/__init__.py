"""
The command line: names and meanings of product contract, exit codes 0 done, 1 failed, 2 usage, 3 done with warnings.

`main` is the border where errors become one line. `commands` holds every command as data, `syntax` reads words by it;
the module of a command is imported when the command runs, and imports in turn what only some of its commands need, so
that short commands start at once.
"""
