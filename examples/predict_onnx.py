"""Name the classes of images by an ONNX file of bignas export, with onnxruntime, numpy and pillow alone.

python predict_onnx.py MODEL.onnx IMAGE ... [--top 5]

Copy this file to where the network is used. The ONNX file says how images are prepared; here that is done with Pillow
and numpy. Pixels differ from those of the training's libraries by one level of 255 at most, but for JPEG files, which
some versions of libjpeg decode a few levels apart.
"""

import argparse
import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

VERSION = 1  # of the metadata's form
FILTERS = {'bilinear': Image.Resampling.BILINEAR, 'bicubic': Image.Resampling.BICUBIC}


def read_metadata(session: onnxruntime.InferenceSession) -> dict:
    """What a file says of itself; ends the program where that is nothing, or in another form."""
    texts = session.get_modelmeta().custom_metadata_map
    if 'deployment_version' not in texts:
        sys.exit('error: the model has no metadata of mmrazor_bignas; expected a file of bignas export --format onnx')
    if json.loads(texts['deployment_version']) != VERSION:
        sys.exit(f'error: the metadata have the form {texts["deployment_version"]}; this script reads {VERSION}')
    keys = ('preprocessing', 'input', 'output', 'num_classes', 'dataset_meta')
    return {key: json.loads(texts[key]) for key in keys if key in texts}


def load(path: str) -> np.ndarray:
    """An image file, turned as its camera says: (height, width, 3) uint8 in RGB."""
    with Image.open(path) as image:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith('I;16'):  # convert() would cut it off at 255
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        if image.mode in ('RGBA', 'LA', 'PA'):  # the colours themselves, also where they are transparent
            image = image.convert('RGBA')
        return np.asarray(image.convert('RGB'))


def resize_without_antialias(image: np.ndarray, size: tuple, interpolation: str) -> np.ndarray:
    """Resize as OpenCV does: its filters do not widen where the image shrinks."""
    result = image.astype(np.float64)
    for axis, (old, new) in enumerate(zip(image.shape, size, strict=False)):
        place = (np.arange(new) + 0.5) * old / new - 0.5
        first = np.floor(place).astype(int)
        weights = np.zeros((new, old))
        for offset in (-1, 0, 1, 2):
            distance = np.abs(place - first - offset)
            if interpolation == 'bilinear':
                weight = np.maximum(1 - distance, 0)
            else:  # cubic, a = -0.75
                near = (1.25 * distance - 2.25) * distance**2 + 1
                weight = np.where(distance <= 1, near, -0.75 * (((distance - 5) * distance + 8) * distance - 4))
            np.add.at(weights, (np.arange(new), np.clip(first + offset, 0, old - 1)), weight)
        result = np.moveaxis(np.tensordot(weights, result, (1, axis)), 0, axis)
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def resize(image: np.ndarray, size: tuple, step: dict) -> np.ndarray:
    """Resize to (height, width), by the filter of a step."""
    if image.shape[:2] == size:
        return image
    if step['backend'] == 'cv2':
        return resize_without_antialias(image, size, step['interpolation'])
    return np.asarray(Image.fromarray(image).resize(size[::-1], FILTERS[step['interpolation']]))


def prepare(image: np.ndarray, steps: list) -> np.ndarray:
    """The steps of the preprocessing that give an image its size."""
    for step in steps:
        height, width = image.shape[:2]
        if step['step'] == 'resize':
            image = resize(image, (step['height'], step['width']), step)
        elif step['step'] == 'resize_edge':
            edge, length = step['edge'], step['length']
            by_width = edge == 'width' or (edge == 'short' and width < height) or (edge == 'long' and width > height)
            size = (int(length * height / width), length) if by_width else (length, int(length * width / height))
            image = resize(image, size, step)
        else:
            crop = min(step['height'], height), min(step['width'], width)
            top, left = (round((old - new) / 2) for old, new in zip((height, width), crop, strict=True))
            image = image[top : top + crop[0], left : left + crop[1]]
    return image


def as_input(image: np.ndarray, metadata: dict) -> np.ndarray:
    """A prepared image as a batch of one that the model takes."""
    takes, preprocessing = metadata['input'], metadata['preprocessing']
    if list(image.shape[:2]) != takes['size']:
        raise ValueError(f'{image.shape[:2]} pixels after the preprocessing; expected {takes["size"]}')
    if takes['channels'] == 'BGR':
        image = image[..., ::-1]
    if takes['dtype'] == 'uint8':
        return np.ascontiguousarray(image[None])
    mean, std = (np.array(preprocessing[name], np.float32) for name in ('mean', 'std'))
    return np.ascontiguousarray(((image.astype(np.float32) - mean) / std).transpose(2, 0, 1)[None])


def main() -> None:
    parser = argparse.ArgumentParser(description='The likeliest classes of images, a JSON line each.')
    parser.add_argument('model', help='a file of bignas export --format onnx')
    parser.add_argument('images', nargs='+')
    parser.add_argument('--top', type=int, default=5, help='classes per image; default: %(default)s')
    args = parser.parse_args()
    try:
        session = onnxruntime.InferenceSession(args.model, providers=['CPUExecutionProvider'])
    except Exception as error:  # its classes have no base of their own
        sys.exit(f'error: {args.model}: cannot be read as an ONNX model: {error}')
    metadata = read_metadata(session)
    names = (metadata.get('dataset_meta') or {}).get('classes') or list(map(str, range(metadata['num_classes'])))
    done = 0
    for path in args.images:
        try:
            image = as_input(prepare(load(path), metadata['preprocessing']['steps']), metadata)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            print(f'{path}: {error}', file=sys.stderr)
            continue
        scores = session.run([metadata['output']['name']], {metadata['input']['name']: image})[0][0].astype(np.float64)
        if metadata['output']['kind'] == 'logits':
            scores = np.exp(scores - scores.max())
            scores /= scores.sum()
        best = np.argsort(-scores)[: args.top]
        top = [{'class': names[i], 'label': int(i), 'probability': float(scores[i])} for i in best]
        print(json.dumps({'image': path, 'top': top}, ensure_ascii=False))
        done += 1
    if not done:
        sys.exit(f'error: none of {len(args.images)} images can be used')


if __name__ == '__main__':
    main()
