"""Limit on the pixels of the images in one request: a blank image has thousands of pixels for each of its bytes."""

import threading

from models_store.tasks.codec import OverBudget


class TooManyPixels(OverBudget):
    """The images of one request have too many pixels together."""

    code = "too_many_pixels"
    title = "Too many pixels"


class PixelBudget:
    """The number of pixels that may be decoded for one request. Safe between threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._lock = threading.Lock()

    def spend(self, pixels: int) -> None:
        """Count an image that is about to be decoded.

        Raises:
            TooManyPixels: if it and the images before it have more pixels than allowed.
        """
        with self._lock:
            self._left -= pixels
            exceeded = self._left < 0
        if exceeded:
            raise TooManyPixels(f"the images have more than {self._most} pixels together; send fewer, or smaller ones")
