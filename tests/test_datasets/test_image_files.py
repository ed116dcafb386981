"""Check what is said of image files, against what the pipeline reads."""

import io
import os

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image

from mmtst.datasets.image_files import (
    SAMPLE,
    ImageReader,
    check_image_files,
    find_image_faults,
    find_reader,
    inspect_image_file,
    spread,
)
from mmtst.utils.errors import ConfigError

PIXELS = cv2.resize(
    np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8),
    (48, 32),
    interpolation=cv2.INTER_CUBIC,
)
IMAGE = Image.fromarray(PIXELS)
SIZE = (48, 32)


def encode(image, kind='PNG', orientation=None, **options):
    if orientation is not None:
        options['exif'] = Image.Exif()
        options['exif'][274] = orientation
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


JPEG, PNG = encode(IMAGE, 'JPEG'), encode(IMAGE)
OTHERS = [encode(IMAGE, kind) for kind in ('WEBP', 'BMP', 'GIF', 'TIFF')]
DEEP = cv2.imencode('.png', PIXELS.astype(np.uint16) * 16)[1].tobytes()
FLOAT = cv2.imencode('.tiff', PIXELS.astype(np.float32))[1].tobytes()
HTML = b'\n<!DOCTYPE html><html><body>404 Not Found</body></html>'
LFS = b'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n'


def write(folder, content, name='x.jpg'):
    path = folder / name
    path.write_bytes(content)
    return str(path)


def kinds(path, size=SIZE, reader=None):
    return [fault.kind for fault in inspect_image_file(path, size, reader)]


def cut(content, share):
    return content[: int(len(content) * share)]


def zeroed(content):
    half = len(content) // 2
    return content[:half] + bytes(len(content) - half)


# Of each: whether the pipeline reads it, and what is said.
CASES = {
    'jpeg': (JPEG, '.jpg', []),
    'png': (PNG, '.png', []),
    'progressive': (encode(IMAGE, 'JPEG', progressive=True), '.jpg', []),
    'jpeg and more': (JPEG + b'more' * 9, '.jpg', []),
    'png and more': (PNG + b'more' * 9, '.png', []),
    'two pictures': (
        encode(IMAGE, 'MPO', save_all=True, append_images=[IMAGE]),
        '.jpg',
        [],
    ),
    'gray': (encode(IMAGE.convert('L'), 'JPEG'), '.jpg', []),
    'cmyk': (encode(IMAGE.convert('CMYK'), 'JPEG'), '.jpg', []),
    'palette': (encode(IMAGE.convert('P')), '.png', []),
    'one bit': (encode(IMAGE.convert('1')), '.png', []),
    'jpeg 2000': (encode(IMAGE, 'JPEG2000'), '.jp2', []),
    'png in jpg': (PNG, '.jpg', ['format']),
    'deep': (DEEP, '.png', ['deep']),
    'alpha': (encode(IMAGE.convert('RGBA')), '.png', ['alpha']),
    'clear color': (
        encode(IMAGE.convert('P'), transparency=0),
        '.png',
        ['alpha'],
    ),
    'turned': (encode(IMAGE, 'JPEG', 6), '.jpg', ['turned']),
    'turned png': (encode(IMAGE, 'PNG', 8), '.png', ['turned']),
    'turned tiff': (encode(IMAGE, 'TIFF', 6), '.tif', ['turned']),
    'upside down': (encode(IMAGE, 'JPEG', 3), '.jpg', ['oriented']),
    'upright': (encode(IMAGE, 'JPEG', 1), '.jpg', []),
    'one pixel': (
        encode(IMAGE.resize((1, 1))),
        '.png',
        ['pixel', 'size'],
    ),
    'empty': (b'', '.jpg', ['empty']),
    'html': (HTML, '.jpg', ['web page']),
    'pointer': (LFS, '.jpg', ['pointer']),
    'text': (b'no image at all', '.jpg', ['unreadable']),
    'zeros': (bytes(999), '.jpg', ['unreadable']),
    'float': (FLOAT, '.tiff', ['unreadable']),
    'float gray': (
        cv2.imencode('.tiff', PIXELS[..., 0].astype(np.float32))[1].tobytes(),
        '.tiff',
        ['unreadable'],
    ),
    'icon': (encode(IMAGE, 'ICO'), '.ico', ['unreadable']),
    'jpeg without end': (JPEG[:-2], '.jpg', ['cut']),
    'png without end': (PNG[:-12], '.png', ['cut']),
    'jpeg zeroed': (zeroed(JPEG), '.jpg', ['cut']),
    'png zeroed': (zeroed(PNG), '.png', ['cut']),
}
for share in (0.1, 0.5, 0.99):
    CASES[f'jpeg {share}'] = (cut(JPEG, share), '.jpg', ['cut'])
    CASES[f'png {share}'] = (cut(PNG, share), '.png', ['cut'])
for content in OTHERS:
    name = content[:4].hex()
    CASES[name] = (content, '.img', [])
    CASES[f'{name} cut'] = (cut(content, 0.6), '.img', ['cut'])
DEADLY = {'empty', 'web page', 'pointer', 'unreadable', 'cut'}


@pytest.mark.parametrize('case', CASES)
def test_what_is_said_is_what_the_pipeline_meets(tmp_path, case):
    content, suffix, expected = CASES[case]
    path = write(tmp_path, content, f'x{suffix}')
    assert kinds(path) == expected
    try:
        loaded = mmcv.imread(path, flag='color', backend='cv2')
    except cv2.error:
        loaded = None
    assert (loaded is None) == bool(DEADLY & set(expected))
    if loaded is not None:
        contradicts = loaded.shape != (SIZE[1], SIZE[0], 3)
        assert contradicts == bool({'turned', 'size'} & set(expected))


def test_orientation_left_alone_contradicts_nothing(tmp_path):
    path = write(tmp_path, CASES['turned'][0])
    ignore = ImageReader('color_ignore_orientation')
    assert kinds(path, SIZE, ignore) == []
    assert kinds(path, SIZE[::-1], ignore) == ['size']
    assert kinds(path, SIZE[::-1]) == []
    assert kinds(path, None) == []
    square = write(tmp_path, encode(IMAGE.resize((9, 9)), 'JPEG', 6))
    assert kinds(square, (9, 9)) == ['oriented']


def test_good_files_of_usual_formats_are_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(mmcv, 'imfrombytes', pytest.fail)
    for content in (JPEG, PNG, *OTHERS[:3]):
        assert kinds(write(tmp_path, content, 'x')) == []


def test_a_bomb_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    monkeypatch.setattr(mmcv, 'imfrombytes', pytest.fail)
    assert kinds(write(tmp_path, PNG)) == ['large']


def test_what_is_no_file(tmp_path):
    assert kinds(str(tmp_path)) == ['missing']
    assert kinds(str(tmp_path / 'none.jpg')) == ['missing']
    assert kinds('null\0byte') == ['missing']
    os.mkfifo(tmp_path / 'pipe.jpg')
    assert kinds(str(tmp_path / 'pipe.jpg')) == ['missing']


def test_another_backend_is_asked_itself(tmp_path):
    path = write(tmp_path, PNG)
    assert kinds(path, SIZE, ImageReader(backend='pillow')) == ['format']
    # Not installed here, so that nothing can be read by it.
    assert kinds(path, SIZE, ImageReader(backend='turbojpeg')) == [
        'unreadable'
    ]


def test_channels_are_compared_where_they_are_kept(tmp_path):
    paths = [write(tmp_path, PNG, f'{i}.png') for i in range(3)]
    keep = ImageReader('unchanged')
    assert find_image_faults(paths, 'here', reader=keep) == []
    paths.append(write(tmp_path, encode(IMAGE.convert('RGBA')), 'a.png'))
    (finding,) = find_image_faults(paths, 'here', reader=keep)
    assert finding.refused
    assert finding.places == (f'{paths[3]} (4)',)


@pytest.mark.parametrize(
    ('pipeline', 'reader'),
    [
        (None, None),
        ([dict(type='LoadImageFromNDArray')], None),
        ([dict(type='LoadImageFromFile')], ImageReader()),
        ([dict(type='mmdet.LoadImageFromFile')], ImageReader()),
        ([dict(type=mmcv.transforms.LoadImageFromFile)], ImageReader()),
        (
            [
                dict(
                    type='LoadImageFromFile',
                    color_type='grayscale',
                    imdecode_backend='pillow',
                )
            ],
            ImageReader('grayscale', 'pillow'),
        ),
    ],
)
def test_the_reader_is_found_in_the_pipeline(pipeline, reader):
    assert find_reader(pipeline) == reader


def test_the_sample_is_spread_evenly():
    assert spread(3) == [0, 1, 2]
    indices = spread(118_287)
    assert len(set(indices)) == SAMPLE
    assert (indices[0], indices[-1]) == (0, 118_286)
    assert max(np.diff(indices)) - min(np.diff(indices)) <= 1


def test_a_sample_by_default_all_if_asked(tmp_path):
    paths = [write(tmp_path, JPEG, f'{i:03}.jpg') for i in range(SAMPLE + 9)]
    unseen = next(i for i in range(len(paths)) if i not in spread(len(paths)))
    write(tmp_path, JPEG[:-9], f'{unseen:03}.jpg')
    assert check_image_files(paths, 'here') == []
    with pytest.raises(ConfigError) as error:
        check_image_files(paths, 'here', every=True)
    assert '1 of 209 images are cut short' in str(error.value)
    assert paths[unseen] in str(error.value)


def test_sizes_are_refused_where_they_are_many(tmp_path):
    paths = [write(tmp_path, JPEG, f'{i}.jpg') for i in range(150)]
    sizes = [SIZE] * 149 + [(9, 9)]
    (note,) = check_image_files(paths, 'here', sizes=sizes)
    assert '1 of 150 images are of another size' in note
    assert '9 x 9, not 48 x 32' in note
    with pytest.raises(ConfigError, match='2 of 150 images'):
        check_image_files(paths, 'here', sizes=[*sizes[1:], (9, 9)])
    turned = [write(tmp_path, CASES['turned'][0])]
    with pytest.raises(ConfigError, match='color_ignore_orientation'):
        check_image_files(turned, 'here', sizes=[SIZE])
