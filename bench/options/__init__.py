"""The options of the commands as typer types: range, unit and help of each.

Light imports only: `andes --help` reads these files.
"""
