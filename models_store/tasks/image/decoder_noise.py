"""Silence for the image decoders: messages that they print about a user's file don't belong in the service's log.

The refusal of an image, or the dataset's report, says what is wrong with it. libtiff prints errors to the process's
standard error from C; Pillow warns of odd metadata line by line, and logs some.
"""

import ctypes
import functools
import logging
import warnings

from PIL import _imaging


@functools.cache
def silence() -> None:
    """Quieten Pillow and the libraries in it, for the whole process."""
    warnings.filterwarnings(action="ignore", module=r"PIL(\.|$)")
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    library = ctypes.CDLL(_imaging.__file__)  # its symbols, and those of what it is linked with
    for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        if (set_handler := getattr(library, name, None)) is not None:  # none where Pillow was built without libtiff
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            set_handler(None)
