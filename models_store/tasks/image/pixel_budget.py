"""Limit on the pixels of images that come together: a blank image has thousands for each of its bytes."""

import threading

from models_store.tasks.codec import OverBudget


class TooManyPixels(OverBudget):
    """Images that came together have too many pixels in sum."""

    code = "too_many_pixels"
    title = "Too many pixels"


class PixelBudget:
    """How many pixels may be decoded of images that came together. Safe between threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._lock = threading.Lock()

    def spend(self, pixels: int) -> None:
        """Count an image that is about to be decoded.

        Raises:
            TooManyPixels: if it, with those before, has more pixels than are allowed.
        """
        with self._lock:
            self._left -= pixels
            exceeded = self._left < 0
        if exceeded:
            raise TooManyPixels(f"the images have more than {self._most} pixels together; send fewer, or smaller ones")
