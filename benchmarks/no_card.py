"""A card that is not here, for compiling kernels without a GPU."""

from __future__ import annotations

from triton.backends.compiler import GPUTarget


class NoCard:
    """Triton's driver of a card that does nothing; it counts launches.

    Args:
        capability: The card's compute capability, such as 90 for 9.0.
    """

    launches = 0

    class utils:
        load_binary = staticmethod(lambda *_: (1, 1, 32, 0, 1024))
        get_device_properties = staticmethod(lambda _: {'max_shared_mem': 232448})

    class launcher_cls:
        def __init__(self, *_) -> None:
            pass

        def __call__(self, *_) -> None:
            NoCard.launches += 1

    def __init__(self, capability: int) -> None:
        self.get_current_device = lambda: 0
        self.get_current_stream = lambda device: 0
        self.get_current_target = lambda: GPUTarget('cuda', capability, 32)
        self.get_device_capability = lambda device=0: divmod(capability, 10)
