"""A made-up accuracy, and a search that goes by it."""

import math


def score(subnet):
    """Some accuracy: more is better, less and less so, and not equally of every gene."""
    numbers = [subnet.resolution, *subnet.width, *subnet.depth]
    for choice in (*subnet.kernel_size, *subnet.expand_ratio):
        numbers += choice if isinstance(choice, tuple) else [choice]
    return sum(math.log(number) * (1 + i % 3) for i, number in enumerate(numbers))


def search(strategy, generations):
    """The candidates of every generation."""
    asked = []
    for _ in range(generations):
        asked.append(strategy.ask())
        strategy.tell({subnet: score(subnet) for subnet in asked[-1]})
    return asked
