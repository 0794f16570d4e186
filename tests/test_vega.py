import subprocess
import sys
from pathlib import Path

from stages import vega
from tests.support import ROOT


def test_the_scripts_of_the_page_define_what_dvc_calls_with_the_same_bytes_each_time(workplace):
    vega.main()
    script = Path("plots/vega.js").read_bytes()
    assert b"window.vegaEmbed=" in script
    assert b"</script" not in script and len(script) < 2e6
    subprocess.run([sys.executable, "-m", "stages.vega"], env={"PYTHONPATH": str(ROOT)}, check=True)
    assert Path("plots/vega.js").read_bytes() == script
