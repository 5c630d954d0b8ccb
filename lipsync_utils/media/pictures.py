"""Picture files: upright, three channels, of a size that can be worked with."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ..errors import MediaError
from ..project import write_bytes
from .tools import check_file

LONGEST_PX = 4096
LARGEST_PX = 400_000_000  # pixels that are decoded at all


def is_picture(path: Path) -> bool:
    """Is this a picture file, judged by its content (not by its name)?"""
    try:
        with Image.open(check_file(path)) as image:
            return image.format is not None and getattr(image, "n_frames", 1) == 1
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return False


def read_picture(path: Path) -> np.ndarray:
    """Read a picture file: uint8 (height, width, 3) BGR, turned upright as its EXIF note says.

    CMYK, grey, palette and 16-bit pictures become RGB; transparent parts become white; of an animation the first
    picture is taken; a longer side than LONGEST_PX is shrunk to that. Raises MediaError for anything else.
    """
    path = check_file(path)
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False  # face_recognition lets half a picture pass
    try:
        with Image.open(path) as image:
            if image.width * image.height > LARGEST_PX:
                raise MediaError(f"{path}: {image.width}x{image.height} pixels are too many; shrink the picture first")
            image = ImageOps.exif_transpose(image)
            image.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.LANCZOS)  # only ever smaller
            if image.mode.startswith("I"):  # 16 bits
                image = Image.fromarray(np.clip(np.asarray(image) / 257, 0, 255).astype(np.uint8))
            white = Image.new("RGBA", image.size, "white")
            flat = Image.alpha_composite(white, image.convert("RGBA"))
            return np.ascontiguousarray(np.asarray(flat)[..., 2::-1])
    except UnidentifiedImageError:
        raise MediaError(f"{path}: not a picture that Pillow can read; save it as JPEG or PNG") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise MediaError(f"{path}: the picture is damaged ({error}); export or download it again") from error
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def write_picture(path: Path, image_bgr: np.ndarray) -> Path:
    """Write a BGR picture atomically; the suffix says how (.png, or .jpg of quality 95). Returns the path."""
    path = Path(path)
    write_bytes(path, cv2.imencode(path.suffix, image_bgr)[1].tobytes())
    return path
