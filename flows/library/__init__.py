"""The library flow: many videos by one job, incremental, at most so many in flight, and none of them stops another.

`running` is the flow itself, `shown` the same as one call and as a flow run of Prefect.
"""
