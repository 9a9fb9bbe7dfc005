"""The command line, the outermost edge."""
