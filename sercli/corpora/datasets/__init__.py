"""One module per corpus; its docstring is the corpus's page.

To add a corpus, write a module here that defines ``CORPUS``, and some of its recordings in
``tests/corpora/datasets/published.py``. `sercli.corpora.registry` finds it, and its protocols.
"""
