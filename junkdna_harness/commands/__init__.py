"""One file per verb of the `junkdna` command: parse, call one function of the library, print."""
