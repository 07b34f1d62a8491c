"""A step recorded once as a CUDA graph: launching it again costs the host one call in the place of some sixty."""

from __future__ import annotations

from collections.abc import Callable

import torch

WARM_UP = 3  # steps before the recording, which must not be the first to set up libraries and moments


class Replayed:
    """A step that changes tensors on a CUDA device in place.

    Args:
        step: takes tensors whose shapes never change, and waits for nothing that the device has yet to compute.
        device: where the tensors are.
    """

    def __init__(self, step: Callable[..., None], device: str) -> None:
        self._step, self._device = step, device
        self._own = torch.cuda.Stream(device)  # of this device, which need not be the current one
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
            with torch.cuda.graph(self._graph, stream=self._own):
                self._step(*self._given)
        for kept, part in zip(self._given, given, strict=True):
            kept.copy_(part)
        self._graph.replay()

    def _warm_up(self, given: tuple[torch.Tensor, ...]) -> None:
        usual = torch.cuda.current_stream(self._device)
        self._own.wait_stream(usual)
        with torch.cuda.stream(self._own):
            self._step(*given)
        usual.wait_stream(self._own)
        self._done += 1
