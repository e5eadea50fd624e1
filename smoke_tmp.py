import subprocess, sys
from pathlib import Path
from tests.support.fake_engine import FakeEngine
import tempfile
with FakeEngine(Path(tempfile.mkdtemp()), tcp=True) as e:
    sys.exit(subprocess.run([sys.executable,"-m","loadtest","run",*sys.argv[1:],"--url",e.url]).returncode)
