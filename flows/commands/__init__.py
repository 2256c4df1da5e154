"""The commands of `steadyframe`: arguments in, an `Outcome` out. None prints its result or exits."""
