"""Rows of the target that lie near one another get one answer."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from conjoin.catalogue import Search
from conjoin.maps.base import Affine
from conjoin.spaces.frame import unit
from conjoin.transfer.adaptation.base import Source, check_linear, check_target
from conjoin.transfer.adaptation.fitted import Moved, Neighbourly, neighbours, settled
from conjoin.transfer.heads import Linear


@dataclass(frozen=True)
class LaplacianAnswers:
    """The head's probabilities, pulled towards those of the nearest rows of the target.

    ``z_i = softmax(log p_i + weight · Σ_{j ∈ kNN(i)} z_j)``, repeated to rest, neighbours by
    cosine; it lowers ``Σ KL(z_i ‖ p_i) − weight/2 Σ_ij K_ij z_i · z_j`` and changes no parameter
    of the head. A new row is answered by the same formula with the target's rows as neighbours.

    Parameters
    ----------
    k : neighbours.
    weight : what they count.
    steps : repetitions at most.

    References
    ----------
    Boudiaf et al. 2022 (boudiaf2022lame), LAME, with its k-NN kernel: k is 5 there and the weight
    1, and each batch of a stream is settled for itself.
    """

    k: Annotated[int, Search(1, 64, log=True)] = 5
    weight: Annotated[float, Search(0.0, 10.0)] = 1.0
    steps: Annotated[int, Search(1, 1000, log=True)] = 100
    reads: ClassVar[str] = "nothing"

    def fit(
        self, fitted: Any, x: Any, *, source: Source | None = None, seed: int = 0
    ) -> Neighbourly:
        """The head with the target's rows beside it."""
        rows = check_target(fitted, x)
        held = settled(fitted, rows, int(self.k), self.weight, int(self.steps))
        anchors = unit(rows.astype(np.float32))
        return Neighbourly(fitted, anchors, held.astype(np.float32), int(self.k), self.weight)


@dataclass(frozen=True)
class PropagatedNames:
    """Names spread over the target's rows by a graph, in the part of space in which names differ.

    With class weights T = U S Vᵀ, ``P = U[:, 1:] U[:, 1:]ᵀ`` keeps their span less its first
    direction, which all classes share. Names and rows under P are the nodes of a symmetric graph
    of ``k`` nearest neighbours W, and ``(I − α D^{−½} W D^{−½}) Z = Y`` is solved by conjugate
    gradients, Y being 1 for each name's own class. Each row takes the class of its largest Z; the
    answer is the class whose rows' mean under P is nearest by cosine.

    Parameters
    ----------
    alpha : how far labels travel; 0 is the names alone.
    k : neighbours.

    References
    ----------
    Hu et al. 2024 (hu2024reclip), whose first half this is; then two copies of the encoder train
    their normalisation layers on what both agree about, of which a vector has none.
    """

    alpha: Annotated[float, Search(0.0, 0.999)] = 0.9
    k: Annotated[int, Search(2, 64, log=True)] = 10
    reads: ClassVar[str] = "nothing"

    def fit(self, fitted: Any, x: Any, *, source: Source | None = None, seed: int = 0) -> Moved:
        """Class means in the span of the names."""
        head = check_linear(fitted, "reclip")
        rows = check_target(head, x).astype(np.float64)
        names = head.weight.T.astype(np.float64)
        left = np.linalg.svd(names.T, full_matrices=False)[0][:, 1:]
        place = left @ left.T
        nodes = unit(np.concatenate([unit(names) @ place, unit(rows) @ place]))
        found = propagated(nodes, len(names), self.alpha, int(self.k))
        said = found.argmax(axis=1)
        hot = np.eye(len(names))[said]
        means = hot.T @ nodes[len(names) :]
        means = unit(np.where(hot.sum(axis=0)[:, None] > 0, means, nodes[: len(names)]))
        scale = float(np.linalg.norm(names, axis=1).mean())
        zero = np.zeros(rows.shape[1])
        inner = Linear(head.classes, scale * means.T, np.zeros(len(names)), unit=True)
        return Moved(inner, Affine(place, zero, zero))


def propagated(nodes: np.ndarray, named: int, alpha: float, k: int) -> np.ndarray:
    """``[n, c]`` labels that reached each node behind the first ``named``, one of each class.

    Where nothing reached a node, its cosine with the names decides.
    """
    from scipy import sparse
    from scipy.sparse.linalg import cg

    at, real = neighbours(nodes, nodes, k)
    near = (nodes[at] * nodes[:, None, :]).sum(axis=2)
    lines = np.repeat(np.arange(len(nodes)), at.shape[1])
    weight = np.where(real, np.maximum(near, 0), 0).ravel()
    graph = sparse.csr_matrix((weight, (lines, at.ravel())), shape=(len(nodes),) * 2)
    graph = graph.maximum(graph.T)
    degree = np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-12) ** -0.5
    even = sparse.diags(degree) @ graph @ sparse.diags(degree)
    left = sparse.identity(len(nodes)) - alpha * even
    out = np.empty((len(nodes) - named, named))
    for c in range(named):
        start = np.zeros(len(nodes))
        start[c] = 1.0
        out[:, c] = cg(left, start, rtol=1e-8, maxiter=1000)[0][named:]
    lost = out.max(axis=1) <= 1e-12
    out[lost] = 1e-12 * (1 + nodes[named:][lost] @ nodes[:named].T)
    return out
