"""From content to collaborative factors, for artworks that nobody has met yet.

Ridge regression of the factors on the content vectors: the linear attribute-to-feature mapping of Gantner et al.,
"Learning attribute-to-feature mappings for cold-start recommendations" (ICDM 2010).
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import Ridge

from features.arrays import Floats

LEAST_TOLD = 50  # artworks with content; fewer say too little
PENALTY = 10.0  # in artworks


def map_content(factors: Floats, vectors: Floats) -> dict[str, Floats]:
    """The array content_map (d + 1, k), the intercept last; nothing where too few artworks have content.

    ``factors`` (n, k) and ``vectors`` (n, d) belong to the same artworks; rows of zeros say nothing.
    """
    told = vectors.any(axis=1)
    if told.sum() < LEAST_TOLD:
        return {}
    model = Ridge(alpha=PENALTY).fit(vectors[told], factors[told])
    coefficients = np.atleast_2d(model.coef_).T
    return {"content_map": np.vstack([coefficients, np.atleast_1d(model.intercept_)]).astype(np.float32)}
