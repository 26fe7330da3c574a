"""Programs for people: command line, emulator, stand-alone reader, PowerShell module. Imports nothing."""
