"""mmcls's ImageClassificationInferencer, able to run: mmengine 0.9 added an attribute that mmcls 1.0.0rc6 does not set.

An exported config imports this file; nothing else does.
"""

from mmcls.apis import ImageClassificationInferencer

if not hasattr(ImageClassificationInferencer, 'show_progress'):
    ImageClassificationInferencer.show_progress = True  # mmengine's default
