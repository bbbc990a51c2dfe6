"""The methods by name: one dataclass of settings for each, and what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from qvit_hls.errors import QvitError
from qvit_hls.ptq.block_learning import BlockReconstruction
from qvit_hls.ptq.channel_shifts import EqualRanges, LeastChannelError, LeastOutputError, ShiftRule
from qvit_hls.ptq.metrics import HessianGuided
from qvit_hls.ptq.ridge import RidgeCorrection
from qvit_hls.ptq.rows import RowError
from qvit_hls.ptq.scales import FullRange, LeastErrorRange, PercentileRange, RangeRule
from qvit_hls.ptq.setting_ranges import check_ranges
from qvit_hls.ptq.step_search import StepSearch


@dataclass(frozen=True)
class Recipe:
    """The parts of a method, in the order in which they run.

    Attributes:
        range_rule: first steps of the activations.
        row_error: what the rows' steps and widths are chosen by.
        search_rows: whether rows may clip their largest weights.
        search: refines all steps, or None.
        correction: of the weights, or None.
        shifts: of the channels of LayerNorm outputs, before anything else, or None.
        softmax_levels: of the softmax's exponents in each factor of two; 0: they are on a uniform grid.
        reconstruction: of blocks, with learned rounding of the weights, or None.
    """

    range_rule: RangeRule
    row_error: RowError = "weight"
    search_rows: bool = True
    search: StepSearch | None = None
    correction: RidgeCorrection | None = None
    shifts: ShiftRule | None = None
    softmax_levels: int = 0
    reconstruction: BlockReconstruction | None = None


class Method(Protocol):
    """Settings of a method."""

    #: Name on the command line.
    name: ClassVar[str]
    #: Calibration images that it needs.
    fewest_images: ClassVar[int]

    @property
    def recipe(self) -> Recipe:
        """Its parts."""


@dataclass(frozen=True)
class MinMax:
    """Every range is covered, of activations as of weight rows."""

    name: ClassVar[str] = "minmax"
    fewest_images: ClassVar[int] = 1

    @property
    def recipe(self) -> Recipe:
        """As ``Method``."""
        return Recipe(FullRange(), search_rows=False)


@dataclass(frozen=True)
class Percentile:
    """Activations clip what is beyond a percentile of their magnitudes; rows have the least squared error.

    Attributes:
        percentile: 50 to 100.

    Raises:
        QvitError: it is outside.
    """

    name: ClassVar[str] = "percentile"
    fewest_images: ClassVar[int] = 1
    percentile: float = 99.9

    def __post_init__(self) -> None:
        if not 50 <= self.percentile <= 100:
            raise QvitError(f"The percentile is {self.percentile:g}; it should be 50 to 100.")

    @property
    def recipe(self) -> Recipe:
        """As ``Method``."""
        return Recipe(PercentileRange(self.percentile))


@dataclass(frozen=True)
class LeastError:
    """Activations have the least L_p error, rows the least squared error.

    Attributes:
        norm: p, greater than 0.

    Raises:
        QvitError: p is not greater than 0.
    """

    name: ClassVar[str] = "mse"
    fewest_images: ClassVar[int] = 1
    norm: float = 2.4

    def __post_init__(self) -> None:
        if not self.norm > 0:
            raise QvitError(f"The norm is {self.norm:g}; it should be greater than 0.")

    @property
    def recipe(self) -> Recipe:
        """As ``Method``."""
        return Recipe(LeastErrorRange(self.norm))


@dataclass(frozen=True)
class EasyQuant:
    """Steps of the largest cosine similarity of layer outputs, of weights and activations by turns.

    Attributes:
        search: its settings.
    """

    name: ClassVar[str] = "easyquant"
    fewest_images: ClassVar[int] = 1
    search: StepSearch = field(default_factory=StepSearch)

    @property
    def recipe(self) -> Recipe:
        """As ``Method``; the search starts from the least error."""
        return Recipe(LeastErrorRange(), search=self.search)


@dataclass(frozen=True)
class Ptq4Vit:
    """PTQ4ViT's search: steps of the least error, weighted with its squared gradient, by turns.

    Candidates and rounds are the paper's, from the whole range on. Its twin uniform quantizers are not there:
    the accelerator has one uniform grid for a value.

    Attributes:
        search: its settings.
    """

    name: ClassVar[str] = "ptq4vit"
    fewest_images: ClassVar[int] = 1
    search: StepSearch = field(
        default_factory=lambda: StepSearch(
            HessianGuided(), images=32, rounds=3, candidates=100, low=0.01, high=1.2
        )
    )

    @property
    def recipe(self) -> Recipe:
        """As ``Method``."""
        return Recipe(FullRange(), search_rows=False, search=self.search)


@dataclass(frozen=True)
class FqVit:
    """FQ-ViT's two parts over least-error steps: a power-of-two factor per channel, and log2 softmax.

    The paper gives the factor to the inputs of LayerNorms. Those are on the residual stream's 16 bits here;
    it is their outputs that have few.

    Attributes:
        shifts: rule of the factors, or None.
        softmax_levels: of the exponents in each factor of two; 0: they are on a uniform grid.

    Raises:
        QvitError: they are out of range.
    """

    name: ClassVar[str] = "fqvit"
    fewest_images: ClassVar[int] = 1
    shifts: ShiftRule | None = field(default_factory=LeastChannelError)
    softmax_levels: int = 1

    def __post_init__(self) -> None:
        fits = self.softmax_levels >= 0
        check_ranges("FQ-ViT", self, [("softmax_levels", fits, "0 or greater")])

    @property
    def recipe(self) -> Recipe:
        """As ``Method``."""
        return Recipe(LeastErrorRange(), shifts=self.shifts, softmax_levels=self.softmax_levels)


@dataclass(frozen=True)
class RepqVit:
    """RepQ-ViT's two parts over least-error steps: LayerNorm's channels rescaled, and log sqrt(2) softmax.

    The factors are powers of two, which the accelerator's LayerNorm has.

    Attributes:
        shifts: rule of the factors, or None.
        softmax_levels: of the exponents in each factor of two; 0: they are on a uniform grid.

    Raises:
        QvitError: they are out of range.
    """

    name: ClassVar[str] = "repq"
    fewest_images: ClassVar[int] = 1
    shifts: ShiftRule | None = field(default_factory=EqualRanges)
    softmax_levels: int = 2

    def __post_init__(self) -> None:
        fits = self.softmax_levels >= 0
        check_ranges("RepQ-ViT", self, [("softmax_levels", fits, "0 or greater")])

    @property
    def recipe(self) -> Recipe:
        """As ``Method``."""
        return Recipe(LeastErrorRange(), shifts=self.shifts, softmax_levels=self.softmax_levels)


@dataclass(frozen=True)
class Erq:
    """Least-error steps, rows by their output error, and weights corrected by ridge regression.

    Attributes:
        correction: its settings.
        row_error: what the rows' steps and widths are chosen by.
        shifts: of the channels of LayerNorm outputs, or None, as in the paper.
    """

    name: ClassVar[str] = "erq"
    #: With fewer, the regression learns the images.
    fewest_images: ClassVar[int] = 8
    correction: RidgeCorrection = field(default_factory=RidgeCorrection)
    row_error: RowError = "gram"
    shifts: ShiftRule | None = None

    @property
    def recipe(self) -> Recipe:
        """As ``Method``."""
        return Recipe(LeastErrorRange(), self.row_error, correction=self.correction, shifts=self.shifts)


@dataclass(frozen=True)
class Auto:
    """The default: EasyQuant's steps of the activations and ERQ's weights, channels shifted
    where that lowers the error of the layers behind.

    Attributes:
        search: settings of EasyQuant.
        correction: settings of ERQ.
        shifts: of the channels of LayerNorm outputs, or None.
    """

    name: ClassVar[str] = "auto"
    fewest_images: ClassVar[int] = 8
    search: StepSearch = field(default_factory=StepSearch)
    correction: RidgeCorrection = field(default_factory=RidgeCorrection)
    shifts: ShiftRule | None = field(default_factory=LeastOutputError)

    @property
    def recipe(self) -> Recipe:
        """As ``Method``."""
        return Recipe(LeastErrorRange(), "gram", True, self.search, self.correction, self.shifts)


@dataclass(frozen=True)
class Brecq:
    """Block reconstruction from what ``auto`` finds: roundings and steps that are learned block by block.

    Attributes:
        search: settings of EasyQuant.
        correction: settings of ERQ, whose weights and biases the learning starts from; None: it starts from
            the float weights, as in AdaRound.
        shifts: of the channels of LayerNorm outputs, or None.
        reconstruction: settings of the learning.
    """

    name: ClassVar[str] = "brecq"
    #: With fewer, the roundings learn the images.
    fewest_images: ClassVar[int] = 32
    search: StepSearch = field(default_factory=StepSearch)
    correction: RidgeCorrection | None = field(default_factory=RidgeCorrection)
    shifts: ShiftRule | None = field(default_factory=LeastOutputError)
    reconstruction: BlockReconstruction = field(default_factory=BlockReconstruction)

    @property
    def recipe(self) -> Recipe:
        """As ``Method``."""
        return Recipe(
            LeastErrorRange(),
            "gram",
            search=self.search,
            correction=self.correction,
            shifts=self.shifts,
            reconstruction=self.reconstruction,
        )


#: The settings of each method by its name; the default first.
METHODS: Mapping[str, type[Method]] = {
    method.name: method
    for method in (Auto, MinMax, Percentile, LeastError, EasyQuant, Ptq4Vit, FqVit, RepqVit, Erq, Brecq)
}


def method_named(name: str) -> Method:
    """The method ``name`` with its default settings.

    Raises:
        QvitError: there is none; names those that there are.
    """
    if name not in METHODS:
        raise QvitError(f"There is no method {name}; methods are {', '.join(METHODS)}.")
    return METHODS[name]()
