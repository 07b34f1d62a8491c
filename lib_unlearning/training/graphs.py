"""A step recorded once as a CUDA graph: launching it again costs the host one call in the place of some sixty."""

from __future__ import annotations

from collections.abc import Callable

import torch

WARM_UP = 3  # steps before the recording, which must not be the first to set up libraries and moments


class Replayed:
    """A step that changes tensors on a CUDA device in place.

    Args:
        step: takes tensors whose shapes never change, and waits for nothing that the device has yet to compute.
    """

    def __init__(self, step: Callable[..., None]) -> None:
        self._step = step
        self._done = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: list[torch.Tensor] = []

    def __call__(self, *given: torch.Tensor) -> None:
        """The step on these tensors."""
        if self._done < WARM_UP:
            self._warm_up(given)
            return
        if self._graph is None:
            self._given = [part.clone() for part in given]
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._step(*self._given)
        for kept, part in zip(self._given, given, strict=True):
            kept.copy_(part)
        self._graph.replay()

    def _warm_up(self, given: tuple[torch.Tensor, ...]) -> None:
        own = torch.cuda.Stream(given[0].device)
        own.wait_stream(torch.cuda.current_stream(given[0].device))
        with torch.cuda.stream(own):
            self._step(*given)
        torch.cuda.current_stream(given[0].device).wait_stream(own)
        self._done += 1
