"""The memory of a batched L-BFGS: curvature pairs of many problems and the direction that they imply."""

import torch
from torch import Tensor


class History:
    """The last ``m`` curvature pairs ``(s_i, y_i)`` of each of A problems.

    The inverse-Hessian product uses the compact form of Byrd, Nocedal and Schnabel (1994, theorem 2.2) in place of the
    two-loop recursion: it is the same matrix, but it reads every stored pair twice in large batched products instead of
    four times in a loop of 2m small ones. With ``R_ij = s_i^T y_j`` for ``i <= j``, ``D = diag(R)`` and
    ``u = R^-1 S^T g``,

        H g = gamma g + S R^-T (D u + gamma Y^T Y u - gamma Y^T g) - gamma Y u.

    Pairs lie in a ring of slots, and so do the rows and columns of the small matrices: ``R^-1`` is kept, because a new
    pair adds one column to it and a forgotten one only takes its row and column away, wherever they stand. Small
    matrices are in double precision, because R grows ill-conditioned long before the pairs themselves lose accuracy.

    Args:
        problems: A.
        dimension: d, the number of unknowns of one problem.
        size: m, how many pairs are kept.
        like: gives device and dtype.
    """

    def __init__(self, problems: int, dimension: int, size: int, like: Tensor) -> None:
        self.size = size
        # Slot by slot, s beside y: the used part of a ring is then one matrix for a single batched product.
        self.pairs = like.new_zeros(problems, size, 2, dimension)
        self.inverse = torch.zeros(problems, size, size, dtype=torch.float64, device=like.device)
        self.change_change = torch.zeros_like(self.inverse)
        self.diagonal = self.inverse.new_zeros(problems, size)
        self.gamma = self.inverse.new_ones(problems)
        self.pushed = torch.zeros(problems, dtype=torch.int64, device=like.device)

    def keep(self, rows: Tensor) -> None:
        """Drop all problems but those at ``rows``."""
        for name in ("pairs", "inverse", "change_change", "diagonal", "gamma", "pushed"):
            setattr(self, name, getattr(self, name)[rows])

    def turn(self, step: Tensor, change: Tensor, accept: Tensor, gradient: Tensor) -> Tensor:
        """Remember a pair and return ``H g``.

        Args:
            step: s, shape ``(A, d)``.
            change: y, shape ``(A, d)``.
            accept: shape ``(A,)``: which problems remember their pair.
            gradient: g, shape ``(A, d)``.

        Returns:
            Shape ``(A, d)``; a problem without pairs gets its gradient back.
        """
        rows = accept.nonzero().squeeze(1)
        slot = (self.pushed % self.size)[rows]
        self.pairs[rows, slot, 0], self.pairs[rows, slot, 1] = step[rows], change[rows]
        self.pushed = self.pushed + accept
        used = min(int(self.pushed.max()), self.size)
        if used == 0:
            return gradient.clone()
        stored = self.pairs[:, :used].flatten(1, 2)
        against = torch.bmm(torch.stack((change, gradient), dim=1), stored.mT).double()
        steps, changes = against[..., 0::2], against[..., 1::2]
        self._extend(rows, slot, steps[:, :1], changes[:, :1])
        weights = self._weights(steps[:, 1:], changes[:, 1:]).to(gradient.dtype)
        whole = torch.bmm(weights, stored).squeeze(1)
        return whole.addcmul_(gradient, self.gamma.to(gradient.dtype).unsqueeze(1))

    def _extend(self, rows: Tensor, slot: Tensor, column: Tensor, gram: Tensor) -> None:
        """Put the newest pair in place of what its slot held, in the small matrices of the problems at ``rows``.

        ``R^-1`` of ``[[R, c], [0, r]]`` is ``[[R^-1, -R^-1 c / r], [0, 1 / r]]``.

        Args:
            rows: shape ``(A',)``.
            slot: shape ``(A',)``.
            column: ``S^T y`` of all problems, shape ``(A, 1, used)``.
            gram: ``Y^T y`` likewise.
        """
        used, place = column.shape[2], slot.unsqueeze(1)
        newest = column[rows, 0].gather(1, place)
        older = column.clone()
        older[rows, 0, slot] = 0
        above = torch.bmm(self.inverse[:, :used, :used], older.mT)[rows, :, 0].div_(-newest)
        self.inverse[rows, slot] = 0
        self.inverse[rows, :used, slot] = above.scatter_(1, place, 1 / newest)
        self.change_change[rows, :used, slot] = self.change_change[rows, slot, :used] = gram[rows, 0]
        self.diagonal[rows, slot] = newest.squeeze(1)
        self.gamma[rows] = (newest / gram[rows, 0].gather(1, place)).squeeze(1)

    def _weights(self, p: Tensor, q: Tensor) -> Tensor:
        """What each stored vector counts in ``H g``, shape ``(A, 1, 2 * used)``, from ``S^T g`` and ``Y^T g``."""
        used = p.shape[2]
        inverse = self.inverse[:, :used, :used]
        gamma = self.gamma.view(-1, 1, 1)
        u = torch.bmm(inverse, p.mT).mT
        gram = torch.bmm(u, self.change_change[:, :used, :used])
        v = torch.bmm(self.diagonal[:, None, :used] * u + gamma * (gram - q), inverse)
        return torch.stack((v, -gamma * u), dim=3).flatten(2)
