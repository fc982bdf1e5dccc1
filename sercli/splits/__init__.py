"""Train/dev/test splits that cannot leak.

Every fold is checked by `fold.check_fold` before it is used: no utterance, no sound and, in speaker-independent
protocols, no speaker is on two sides. Augmented copies are not in the index; they follow their original when training
reads the store.
"""
