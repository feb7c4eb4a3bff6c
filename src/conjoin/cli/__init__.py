"""The command line: arguments in, one call of project, print."""
