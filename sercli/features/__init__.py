"""Feature extraction and the feature store."""

from sercli.caches import provide_caches

provide_caches()  # before librosa is imported, also in notebooks and workers of a Dask cluster
