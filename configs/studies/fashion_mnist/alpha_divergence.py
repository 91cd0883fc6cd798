# python tools/train.py configs/studies/fashion_mnist/alpha_divergence.py --work-dir work_dirs/fashion_mnist/alpha_divergence
_base_ = './supernet.py'

# AlphaNet's distillation (arXiv:2102.07954).
algorithm = dict(distillation=dict(type='mmrazor_bignas.AdaptiveAlphaDistillation'))
