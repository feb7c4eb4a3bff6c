"""Losses as a mixture of two kinds of lines: those that fit, and those that do not."""

import numpy as np

#: Settings of the mixture, as the authors of NCR have them.
STEPS, TOLERANCE, FLOOR = 10, 1e-2, 5e-4


def gaussian_split(losses: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Posterior of the component of larger mean, of two Gaussians fitted to ``losses``."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mix = GaussianMixture(
        2, max_iter=STEPS, tol=TOLERANCE, reg_covar=FLOOR, random_state=0
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mix.fit(np.sort(losses)[:, None])  # where it starts depends on the order
    noisy = int(mix.means_.argmax())
    found: np.ndarray = mix.predict_proba(asked.reshape(-1, 1))[:, noisy].reshape(asked.shape)
    return found
