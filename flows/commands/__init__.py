"""The commands of `steadyframe`: arguments in, an `Outcome` out. No command prints a result or exits by itself."""
