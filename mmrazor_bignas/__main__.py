"""The console command ``bignas``; ``python -m mmrazor_bignas`` is the same."""

from __future__ import annotations

import sys

from mmrazor_bignas import __version__
from mmrazor_bignas.commands import COMMANDS, run


def main() -> None:
    """Run the command that the first word, or the first two, name."""
    words = sys.argv[1:]
    for number in (2, 1):
        name = ' '.join(words[:number])
        if name in COMMANDS:
            sys.argv[:] = [f'bignas {name}', *words[number:]]  # parsers take their name from it
            run(COMMANDS[name][0])
            return
    group = words[0] if words and any(name.startswith(f'{words[0]} ') for name in COMMANDS) else ''
    rest = words[bool(group) :]
    if rest == ['--version']:
        print(__version__)
    elif rest[:1] in (['-h'], ['--help']):
        print(overview(group))
    elif rest:
        print(f'bignas: error: {unknown(f"{group} {rest[0]}".strip())}', file=sys.stderr)
        sys.exit(2)
    else:
        print(overview(group), file=sys.stderr)
        sys.exit(2)


def overview(group: str = '') -> str:
    """Every command on a line, or those that begin with the word ``group``."""
    shown = {name: does for name, (_, does) in COMMANDS.items() if not group or name.startswith(f'{group} ')}
    width = max(map(len, COMMANDS))
    return '\n'.join(
        [
            f'usage: bignas {group or "COMMAND"} ...',
            '',
            *(f'  {name:{width}}  {does}' for name, does in shown.items()),
            '',
            'bignas COMMAND --help says what a command takes, with an example.',
        ]
    )


def unknown(name: str) -> str:
    """What to say of a command that does not exist."""
    from difflib import get_close_matches

    known = dict.fromkeys(word for command in COMMANDS for word in (command, command.split()[0]))
    near = get_close_matches(name, known, n=1)
    return f'no command {name!r}; ' + (f'did you mean {near[0]!r}?' if near else f'expected one of {list(COMMANDS)}')


if __name__ == '__main__':
    main()
