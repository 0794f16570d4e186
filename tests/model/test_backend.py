import sys

import pytest

from stages.model import backend


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_modules_are_unimportable_in_the_block_alone(monkeypatch, error):
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with pytest.raises(error), backend._unimportable(["wave", "json"]):
        import json  # noqa: F401, which is imported already

        with pytest.raises(ImportError):
            import wave
        raise error
    import wave

    assert wave.open
