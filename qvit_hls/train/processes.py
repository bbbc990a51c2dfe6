"""The processes of a run: one, or as many as ``accelerate launch`` started."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from qvit_hls.errors import QvitError
from qvit_hls.train.loader import Part

if TYPE_CHECKING:
    from accelerate import PartialState

#: Values in a tensor that is averaged at once: large enough that the network's latency does not count.
_BUCKET = 1 << 24


class Processes:
    """What this process shares with the others.

    Gradients are averaged once per step by :meth:`average_gradients`, not by a wrapper around the network:
    the passes of one step use different slices of a supernet, and all of them count together.

    Args:
        cpu: compute on the CPU even where there is an accelerator.

    Raises:
        QvitError: accelerate is not installed.
    """

    def __init__(self, cpu: bool = False) -> None:
        try:
            from accelerate import PartialState
        except ImportError:
            raise QvitError(
                "Training needs the package accelerate; install it with: pip install 'qvit-hls[search]'"
            ) from None
        self._state: PartialState = PartialState(cpu=cpu or not torch.accelerator.is_available())

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self._state.device

    @property
    def part(self) -> Part:
        """This process, and how many there are."""
        return Part(self._state.process_index, self._state.num_processes)

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self._state.is_main_process

    def wait(self) -> None:
        """Until all processes are here."""
        self._state.wait_for_everyone()

    def total(self, values: Tensor) -> Tensor:
        """The sum of ``values`` over all processes."""
        from accelerate.utils import reduce

        return reduce(values, "sum")

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean of all processes' gradients.

        A parameter without a gradient has none in any process: all train the same networks.
        """
        if self.part.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        for bucket in _buckets(gradients):
            mean = self.total(torch.cat([g.flatten() for g in bucket])).div_(self.part.count)
            for gradient, part in zip(bucket, mean.split([g.numel() for g in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def share_state(self, model: nn.Module) -> None:
        """Give every process the main process's parameters and buffers."""
        if self.part.count == 1:
            return
        from accelerate.utils import broadcast

        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.copy_(broadcast(tensor.detach().clone()))


def _buckets(tensors: Sequence[Tensor]) -> Iterable[list[Tensor]]:
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if bucket and size + tensor.numel() > _BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += tensor.numel()
    if bucket:
        yield bucket
