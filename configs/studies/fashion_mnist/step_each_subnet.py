# python tools/train.py configs/studies/fashion_mnist/step_each_subnet.py --work-dir work_dirs/fashion_mnist/step_each_subnet
_base_ = './supernet.py'

# MMRazor's way: an optimizer step after every subnet.
algorithm = dict(step_each_subnet=True)
