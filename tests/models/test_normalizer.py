import numpy as np

from sercli.models.normalizer import Normalizer


def test_the_normalizer_measures_all_frames_alike() -> None:
    rng = np.random.default_rng(0)
    matrices = [rng.normal(3, 2, (n, 4)).astype(np.float32) for n in (5, 100, 1)]
    frames = np.concatenate(matrices)
    frames[:, 3] = 7.0
    for matrix in matrices:
        matrix[:, 3] = 7.0
    normalizer = Normalizer.fit(iter(matrices))
    np.testing.assert_allclose(normalizer.mean, frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(normalizer.std[:3], frames.std(axis=0)[:3], rtol=1e-5)
    assert normalizer.std[3] == 1.0
    assert Normalizer.from_dict(normalizer.to_dict(), 4).to_dict() == normalizer.to_dict()
