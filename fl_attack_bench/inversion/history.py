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

    Pairs lie in a ring of slots; the small matrices are kept in the order of time and in double precision, because R
    grows ill-conditioned long before the pairs themselves lose accuracy.

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
        self.step_change = torch.eye(size, dtype=torch.float64, device=like.device).repeat(problems, 1, 1)
        self.change_change = torch.zeros_like(self.step_change)
        self.gamma = torch.ones(problems, dtype=torch.float64, device=like.device)
        self.pushed = torch.zeros(problems, dtype=torch.int64, device=like.device)

    def keep(self, rows: Tensor) -> None:
        """Drop all problems but those at ``rows``."""
        for name in ("pairs", "step_change", "change_change", "gamma", "pushed"):
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
        self._make_room(accept & (self.pushed >= self.size))
        place = self.pushed.clamp(max=self.size - 1)
        slot = self.pushed % self.size
        self.pairs[rows, slot[rows], 0], self.pairs[rows, slot[rows], 1] = step[rows], change[rows]
        self.pushed = self.pushed + accept
        used = min(int(self.pushed.max()), self.size)
        if used == 0:
            return gradient.clone()
        order = self._order(used)
        stored = self.pairs[:, :used].flatten(1, 2)
        against = torch.bmm(torch.stack((change, gradient), dim=1), stored.transpose(1, 2)).double()
        in_time = order.repeat_interleave(2, dim=1).mul_(2)
        in_time[:, 1::2] += 1
        dots = against.gather(2, in_time.unsqueeze(1).expand(-1, 2, -1)).unflatten(2, (used, 2))
        self._extend(rows, place[rows], dots[rows, 0], step[rows], change[rows])
        weights = self._weights(dots[:, 1, :, 0:1], dots[:, 1, :, 1:2])
        by_slot = torch.zeros_like(weights).scatter_(1, in_time, weights).to(gradient.dtype)
        whole = torch.bmm(by_slot.unsqueeze(1), stored).squeeze(1)
        return whole.addcmul_(gradient, self.gamma.to(gradient.dtype).unsqueeze(1))

    def _extend(self, rows: Tensor, place: Tensor, dots: Tensor, step: Tensor, change: Tensor) -> None:
        """Add the newest pair's row and column to the small matrices of the problems at ``rows``."""
        used = dots.shape[1]
        filled = torch.arange(used, device=place.device) <= place.unsqueeze(1)
        column, gram = (dots * filled.unsqueeze(2)).unbind(2)
        self.step_change[rows, :used, place] = column
        self.change_change[rows, :used, place] = gram
        self.change_change[rows, place, :used] = gram
        newest = place.unsqueeze(1)
        self.gamma[rows] = (column.gather(1, newest) / gram.gather(1, newest)).squeeze(1)

    def _weights(self, p: Tensor, q: Tensor) -> Tensor:
        """What each stored vector counts in ``H g``, in the order of time: ``(A, 2 * used)``, s beside y."""
        used = p.shape[1]
        triangle = self.step_change[:, :used, :used]
        gamma = self.gamma.view(-1, 1, 1)
        u = torch.linalg.solve_triangular(triangle, p, upper=True)
        diagonal = triangle.diagonal(dim1=1, dim2=2).unsqueeze(2)
        inner = diagonal * u + gamma * (self.change_change[:, :used, :used] @ u - q)
        v = torch.linalg.solve_triangular(triangle.transpose(1, 2), inner, upper=False)
        return torch.cat((v, -gamma * u), dim=2).flatten(1)

    def _make_room(self, full: Tensor) -> None:
        """Forget the oldest pair of the problems where ``full`` is true in the small matrices."""
        rows = full.nonzero().squeeze(1)
        if not len(rows):
            return
        for matrix in (self.step_change, self.change_change):
            matrix[rows, :-1, :-1] = matrix[rows, 1:, 1:]
            matrix[rows, -1] = 0

    def _order(self, used: int) -> Tensor:
        """Slots in the order of time, shape ``(A, used)``; a ring that is not yet full starts at slot 0."""
        start = (self.pushed - self.size).clamp(min=0).unsqueeze(1)
        return (start + torch.arange(used, device=start.device)) % self.size
