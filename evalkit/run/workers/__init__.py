"""A run spread over workers: one driver writes, workers run samples, and any of them may die (no torch).

`spread` is the way in. `contract` says what passes between driver and workers; `local` and `ray` are where workers
live, `worker` is what runs there, `crew` knows them, `driver` gives out samples and takes in records.
"""

__all__: list[str] = []
