"""Train/dev/test splits that cannot leak.

`fold.check_fold` checks every fold before use: splits share no utterance, no duplicate and, in speaker-independent
protocols, no speaker. Augmented copies are not in the index; training reads them with their original.
"""
