"""In which order images run in an RTL simulation: with their trace and without, loaded ahead or not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OrderedFrame:
    """A frame of a simulation.

    Attributes:
        image: its index.
        traced: whether every layer's result is put out.
        image_loaded: whether the frame before took its image.
        next_image: index of the image that this frame takes for the next one; None where it takes none.
    """

    image: int
    traced: bool
    image_loaded: bool = False
    next_image: int | None = None

    @property
    def name(self) -> str:
        """For messages."""
        ahead = ", loaded ahead" if self.image_loaded else ""
        return f"image {self.image}, trace {'on' if self.traced else 'off'}{ahead}"

    @property
    def loads(self) -> int:
        """How many images go over the image stream during the frame."""
        return (not self.image_loaded) + (self.next_image is not None)


def frame_order(images: int, traced: bool) -> list[OrderedFrame]:
    """All images with the trace, unless that is not wanted, and then all without.

    Without the trace they run as in use: each frame takes the next one's image, also the last one, so that
    all but the first are in the steady state. A single image then runs twice, for there to be such a frame.
    """
    frames = [OrderedFrame(image, traced=True) for image in range(images if traced else 0)]
    frames += [
        OrderedFrame(number % images, traced=False, image_loaded=number > 0, next_image=(number + 1) % images)
        for number in range(max(images, 2))
    ]
    return frames
