"""Train/dev/test splits that cannot leak.

`fold.check_fold` checks every fold before use: no utterance, no sound and, in speaker-independent protocols, no speaker
is on two sides. Augmented copies are not in the index; they follow their original when training reads the store.
"""
