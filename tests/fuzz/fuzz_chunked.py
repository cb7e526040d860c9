"""Compare the decoder of chunked bodies with h11: python tests/fuzz/fuzz_chunked.py --inputs 1000000 [--seed N]

Both must return the same payload, and accept or refuse the same bodies. `tests/unit/test_chunked.py` is the short form.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

from chunked_bodies import by_decoder, by_h11, cut, make_body  # noqa: E402 - beside the tests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    whole = 0
    for number in range(arguments.inputs):
        rng = random.Random(f"{arguments.seed} {number}")
        body = make_body(rng)
        reads = cut(body, rng)
        expected, found = by_h11(reads), by_decoder(reads)
        whole += expected.is_whole
        if expected != found:
            raise SystemExit(f"input {number}: {reads!r}\nh11:     {expected}\ndecoder: {found}")
    print(f"{arguments.inputs} inputs, {whole} of them whole: no difference")


if __name__ == "__main__":
    main()
