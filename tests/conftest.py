"""Settings of all tests."""

from __future__ import annotations

import torch

# Tests run in several processes; threads of each would wait for one another's cores.
torch.set_num_threads(1)
