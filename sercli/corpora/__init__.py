"""Speech corpora: fetching, unpacking, reading their names, indexing their utterances."""
