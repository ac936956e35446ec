"""Training, for all interfaces of the package: networks, batches, optimisers, schedules, samples, threads."""
