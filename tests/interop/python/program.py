# SPDX-License-Identifier: Apache-2.0
"""Guest: a command line program with argparse: subcommands, usage errors, exit codes, standard input, standard error, environment."""
import argparse
import os
import shlex
import sys


def main():
    parser = argparse.ArgumentParser(prog="program", formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--level", type=int, default=os.environ.get("INTEROP_LEVEL", "3"))
    commands = parser.add_subparsers(dest="command", required=True)
    count = commands.add_parser("count")
    count.add_argument("words", nargs="*")
    count.add_argument("--stdin", action="store_true")
    commands.add_parser("fail").add_argument("code", type=int)
    commands.add_parser("crash").add_argument("how", choices=["zero", "key", "deep", "group", "syntax"])
    options = parser.parse_args()
    print(vars(options))
    if options.command == "count":
        words = sys.stdin.read().split() if options.stdin else options.words
        print(len(words), max(words, key=len, default=""), shlex.join(words[:5]))
    elif options.command == "fail":
        print("about to fail", file=sys.stderr)
        sys.exit(options.code)
    elif options.how == "zero":
        return 1 / 0
    elif options.how == "key":
        try:
            {}["missing"]
        except KeyError as e:
            raise RuntimeError("while handling") from e
    elif options.how == "group":
        raise ValueError("several words: 'quoted' \u00fc")
    elif options.how == "syntax":
        compile("x = = 1\n", "text", "exec")
    else:
        def down(n):
            return down(n + 1)
        down(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
