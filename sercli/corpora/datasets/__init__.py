"""One module per corpus; its docstring is the corpus's page.

To add a corpus, write a module here that defines ``CORPUS``, and its test. `sercli.corpora.registry` finds it.
"""
