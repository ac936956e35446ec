"""Training, for every face of the package: networks, batches, optimisers, schedules, samples, threads."""
