"""
`strongroom demo`: the whole system on an emulated tenant, in one command.

It starts an installation and an emulator as processes in a temporary folder and uses nothing but their public doors: the REST
API, the command line's own functions on the repository, and the emulator's control for the oracle.
"""
