"""Search spaces: which networks one supernet holds. YAML, validated completely."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from qvit_hls.errors import QvitError
from qvit_hls.nets.config import MAX_DEPTH, MAX_EMBED_DIM, MAX_WIDTH, BlockConfig, VitConfig, parse_config
from qvit_hls.nets.setting_errors import sentences
from qvit_hls.nets.subnet import BLOCK_LAYERS, Subnet, SubnetBlock
from qvit_hls.quant.levels import MAX_ACTIVATION_BITS, MIN_ACTIVATION_BITS

#: What a file name must end in to be taken for a path rather than a space's name.
_SUFFIXES = (".yaml", ".yml")
#: What a user may choose; each is a list in the file.
CHOICES = ("depth", "embed_dim", "heads", "head_dim", "mlp_ratio", "eight_bit_share", "activation_bits")

Whole = Annotated[int, Field(strict=True, ge=1)]


class SearchSpace(BaseModel):
    """All combinations of some choices, and what all its networks have in common.

    Attributes:
        name: shown to people.
        depth: numbers of blocks.
        embed_dim: widths of the residual stream.
        heads, head_dim, mlp_ratio: of each block; blocks choose for themselves.
        eight_bit_share: shares of 8-bit rows; layers choose for themselves.
        activation_bits: of the whole network.
        network: settings of a VitConfig that all networks share, such as ``image_size`` and ``classes``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, Field(min_length=1)]
    depth: tuple[Annotated[Whole, Field(le=MAX_DEPTH)], ...]
    embed_dim: tuple[Annotated[Whole, Field(le=MAX_EMBED_DIM)], ...]
    heads: tuple[Whole, ...]
    head_dim: tuple[Whole, ...]
    mlp_ratio: tuple[Annotated[float, Field(gt=0)], ...]
    eight_bit_share: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    activation_bits: tuple[
        Annotated[int, Field(strict=True, ge=MIN_ACTIVATION_BITS, le=MAX_ACTIVATION_BITS)], ...
    ] = (7,)
    network: dict[str, Any]

    @model_validator(mode="after")
    def _consistent(self) -> SearchSpace:
        problems = list(self._problems())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        empty = False
        for name in CHOICES:
            values = getattr(self, name)
            if not values:
                empty = True
                yield f"{name} has no choices; it should list at least one."
            elif tuple(sorted(set(values))) != values:
                yield f"{name} is {list(values)}; choices should differ, and ascend."
        for name in self.network:
            if name in _SEARCHED:
                yield f"network.{name} is searched; it should be set by {_SEARCHED[name]} only."
        if empty:
            return
        for width in self.embed_dim:
            for ratio in self.mlp_ratio:
                hidden = width * ratio
                if abs(hidden - round(hidden)) > 1e-6:
                    yield (
                        f"embed_dim {width} and mlp_ratio {ratio:g} make an MLP of {hidden:g} channels; "
                        "it should be a whole number."
                    )
                elif round(hidden) < 1:
                    yield (
                        f"embed_dim {width} and mlp_ratio {ratio:g} make an MLP of 0 channels; "
                        "it should have at least 1."
                    )
                elif hidden > MAX_WIDTH:
                    yield (
                        f"embed_dim {width} and mlp_ratio {ratio:g} make an MLP of {hidden:g} channels; "
                        f"it should have at most {MAX_WIDTH}."
                    )
        if (most := self.heads[-1] * self.head_dim[-1]) > MAX_WIDTH:
            yield (
                f"heads {self.heads[-1]} and head_dim {self.head_dim[-1]} make an attention of {most} "
                f"channels; it should have at most {MAX_WIDTH}."
            )

    # ------------------------------------------------------------ its networks

    @property
    def max_depth(self) -> int:
        """Blocks of the deepest network."""
        return self.depth[-1]

    @property
    def size(self) -> int:
        """Number of networks."""
        layers = len(self.eight_bit_share)
        block = len(self.heads) * len(self.head_dim) * len(self.mlp_ratio) * layers ** len(BLOCK_LAYERS)
        towers = sum(block**depth for depth in self.depth)
        return towers * len(self.embed_dim) * len(self.activation_bits) * layers**2

    def largest(self) -> Subnet:
        """The network with the last of all choices."""
        return self._uniform(-1)

    def smallest(self) -> Subnet:
        """The network with the first of all choices."""
        return self._uniform(0)

    def _uniform(self, place: int) -> Subnet:
        share = self.eight_bit_share[place]
        block = SubnetBlock(
            self.heads[place], self.head_dim[place], self.mlp_ratio[place], (share,) * len(BLOCK_LAYERS)
        )
        return Subnet(
            self.embed_dim[place],
            (block,) * self.depth[place],
            share,
            share,
            self.activation_bits[place],
        )

    def sample(self, generator: np.random.Generator) -> Subnet:
        """A network: all choices uniform and independent."""

        def one(values: tuple[Any, ...]) -> Any:
            return values[int(generator.integers(len(values)))]

        depth, embed_dim, bits = one(self.depth), one(self.embed_dim), one(self.activation_bits)
        blocks = tuple(
            SubnetBlock(
                one(self.heads),
                one(self.head_dim),
                one(self.mlp_ratio),
                tuple(one(self.eight_bit_share) for _ in BLOCK_LAYERS),
            )
            for _ in range(depth)
        )
        return Subnet(embed_dim, blocks, one(self.eight_bit_share), one(self.eight_bit_share), bits)

    def problems_of(self, subnet: Subnet) -> Iterator[str]:
        """Why a network is none of this space; nothing if it is."""
        for name, value in (
            ("depth", subnet.depth),
            ("embed_dim", subnet.embed_dim),
            ("activation_bits", subnet.activation_bits),
        ):
            yield from self._unless_choice(name, value, "the network")
        for i, block in enumerate(subnet.blocks):
            for name in ("heads", "head_dim", "mlp_ratio"):
                yield from self._unless_choice(name, getattr(block, name), f"blocks.{i}")
        for layer, share in subnet.layer_shares().items():
            yield from self._unless_choice("eight_bit_share", share, layer)

    def _unless_choice(self, name: str, value: float, where: str) -> Iterator[str]:
        choices = getattr(self, name)
        if value not in choices:
            yield f"{name} of {where} is {value:g}; choices are {', '.join(f'{c:g}' for c in choices)}."

    def config(self, subnet: Subnet) -> VitConfig:
        """A network's configuration, as a model file has it.

        Raises:
            QvitError: the network is none of this space.
        """
        if problems := list(self.problems_of(subnet)):
            raise QvitError(problems)
        return self._config(subnet)

    def _config(self, subnet: Subnet) -> VitConfig:
        blocks = tuple(
            BlockConfig(
                heads=block.heads,
                head_dim=block.head_dim,
                mlp_hidden=round(subnet.embed_dim * block.mlp_ratio),
            )
            for block in subnet.blocks
        )
        return parse_config(
            {
                "layer_scale": True,  # of the supernet, which it steadies
                **self.network,
                "embed_dim": subnet.embed_dim,
                "blocks": blocks,
                "activation_bits": subnet.activation_bits,
                "eight_bit_share": subnet.patch_share,
                "layer_eight_bit_share": subnet.layer_shares(),
            }
        )


_SEARCHED = {
    "embed_dim": "embed_dim",
    "blocks": "depth, heads, head_dim and mlp_ratio",
    "activation_bits": "activation_bits",
    "eight_bit_share": "eight_bit_share",
    "layer_eight_bit_share": "eight_bit_share",
}


def space_names() -> list[str]:
    """Names of the spaces that ship with the package."""
    folder = resources.files("qvit_hls.nets") / "spaces"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def load_space(space: str) -> SearchSpace:
    """Read a search space.

    Args:
        space: a name that ships with the package, or the path of a file (``.yaml`` or ``.yml``).

    Raises:
        QvitError: there is no such space, or its file is malformed; every problem of the file is named.
    """
    if space.endswith(_SUFFIXES):
        path = Path(space)
        if not path.is_file():
            raise QvitError(
                f"The search space {space} does not exist; known spaces are {', '.join(space_names())}."
            )
        return parse_space(path.read_bytes(), space)
    if space not in space_names():
        raise QvitError(
            f"There is no search space {space!r:.60}; known ones are {', '.join(space_names())}, "
            "and any other is the path of a .yaml file."
        )
    file = resources.files("qvit_hls.nets") / "spaces" / f"{space}.yaml"
    return parse_space(file.read_bytes(), f"{space}.yaml")


def parse_space(content: bytes, origin: str) -> SearchSpace:
    """Read a search space from the content of its file.

    Args:
        origin: the file's name, for messages.

    Raises:
        QvitError: the file is malformed, or its choices contradict each other; every problem is named.
    """
    try:
        fields = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise QvitError(f"{origin} is not YAML: {' '.join(str(error).split())}") from error
    return space_of(fields, origin)


def space_of(fields: object, origin: str) -> SearchSpace:
    """The same from plain data.

    Raises:
        QvitError: every problem, its sentence beginning with ``origin``.
    """
    try:
        space = SearchSpace.model_validate(fields)
    except ValidationError as error:
        lines = [line for details in error.errors() for line in sentences(details, origin)]
        raise QvitError(lines) from None
    try:
        for subnet in (space.smallest(), space.largest()):
            space.config(subnet)
    except QvitError as error:
        raise QvitError(
            f"{origin}: network{line.removeprefix('config')}" for line in dict.fromkeys(error.problems)
        ) from None
    return space
