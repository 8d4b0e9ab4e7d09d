"""A pool of machines that share a search, by Dask's scheduler and workers.

Whoever can speak to a scheduler or a worker can have it run any code: Dask's messages are pickles.
So nothing listens or connects without TLS in which both ends prove that they have the pool's key.
"""
