"""`python -m demo`, which is what `make demo` runs."""

from __future__ import annotations

import sys

from demo.evidence import ProofError
from demo.narration import Narrator
from demo.shell import CommandError
from demo.story import tell
from icebrick.cli.signals import unwind_on_signals
from icebrick.errors import IcebrickError

INTERRUPTED = 130


def main() -> int:
    """0 when everything was proved; everything made is gone again in any case."""
    narrator = Narrator()
    try:
        with unwind_on_signals():
            tell(narrator)
    except ProofError as error:
        return narrator.fail(f"not proved: {error}")
    except CommandError as error:
        return narrator.fail(str(error))
    except IcebrickError as error:
        return narrator.fail(f"{error}\n{error.hint or ''}".strip())
    except KeyboardInterrupt:
        narrator.fail("interrupted")
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
