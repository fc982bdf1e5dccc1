"""Who trains, who is looked at while training, and who tests: folds that cannot leak.

Every fold is checked by `fold.check_fold` before it is handed out: no utterance, no sound and, in speaker-independent
protocols, no speaker stands on two sides. Altered copies are not in the index at all; they follow their original when
training reads the store.
"""
