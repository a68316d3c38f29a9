"""The benchmark: each module measures one thing or runs one kind of process; `main` puts them together."""
