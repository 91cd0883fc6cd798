"""What training on several ranks must give, from one process: reference_of_ranks.py RANKS STEPS CONFIG OUT OPTION ...

CONFIG has the total batch size. Runs every rank's batches one after the other on the same weights, averages the
gradients, clips, and steps once.
"""

from __future__ import annotations

import sys

import torch
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from mmrazor_bignas.engine.cfg_options import parse_value
from mmrazor_bignas.engine.randomness import seed_generators
from mmrazor_bignas.engine.runner import build_runner, load_config
from mmrazor_bignas.engine.train_batches import build_train_loader


class OnlyBackward:
    """An optimizer wrapper that leaves the step to the caller."""

    def __init__(self, wrapper):
        self.optim_context = wrapper.optim_context
        self.scale_loss = lambda loss: loss
        self.update_params = lambda loss: loss.backward()


def main() -> None:
    ranks, steps, config, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
    options = dict(word.split('=', 1) for word in sys.argv[5:])
    options = {key: parse_value(value) for key, value in options.items()}
    cfg = load_config(config, options, work_dir=f'{out}.work')
    share = {**cfg.train_dataloader, 'batch_size': cfg.train_dataloader.batch_size // ranks}
    runner = build_runner(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    wrapper = runner.optim_wrapper = Runner.build_optim_wrapper(runner, runner.optim_wrapper)
    schedulers = runner.build_param_scheduler(runner.param_schedulers)
    model = runner.model.train()
    batches = []
    for rank in range(ranks):
        loader = build_train_loader(share, runner.seed)
        sampler = loader.batch_sampler.sampler
        sampler.rank, sampler.world_size = rank, ranks
        sampler.num_samples = -(-len(loader.dataset) // ranks)
        sampler.total_size = sampler.num_samples * ranks
        batches.append(iter(loader))
    assert len(runner.train_dataloader) == steps  # so the schedules are those of the ranks
    hub = MessageHub.get_current_instance()
    for step in range(steps):
        hub.update_info('iter', step)
        for parameter in model.parameters():
            parameter.grad = None
        for rank in range(ranks):
            batch = next(batches[rank])
            seed_generators(runner.seed, 'step', step, rank)
            model.train_step(batch, OnlyBackward(wrapper))
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= ranks
        wrapper._clip_grad()
        wrapper.optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    torch.save(dict(model.state_dict()), out)


if __name__ == '__main__':
    main()
