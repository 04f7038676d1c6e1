"""Files and folders, here and behind URLs: atomic writes, locks, one fetcher."""
