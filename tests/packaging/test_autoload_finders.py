"""The finder of our start-up hook among others: nothing that another package or a reload does there stops `import lm_eval`.

Each case is a Python of its own that imports a small stand-in for lm-eval, with the modules that the hook waits for; the last tests
take the real one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from textwrap import dedent, indent

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = {
    "__init__.py": "",
    "api/__init__.py": "",
    "api/registry.py": """
        class Registry(dict):
            registered = []
            def register(self, name, target):
                self.registered.append(name)
                self[name] = target
        model_registry = Registry()
    """,
    "models/__init__.py": "from lm_eval.api import registry\n",
    "tasks/__init__.py": "",
    "tasks/manager.py": """
        import lm_eval.api.registry
        class TaskIndex:
            @staticmethod
            def build(paths):
                return [str(path) for path in paths]
    """,
}
# What all cases end with: both parts were joined, once each.
JOINED = """
import os, sys
import lm_eval.models, lm_eval.tasks.manager
from lm_eval.api.registry import model_registry
from lm_eval.tasks.manager import TaskIndex
from junkdna_harness.autoload import tasks_dir
assert model_registry.registered == ["junkdna-pruned", "junkdna-quantized"], model_registry.registered
here = os.path.dirname(lm_eval.tasks.manager.__file__)
assert TaskIndex.build([here]) == [here, tasks_dir()], TaskIndex.build([here])
assert sum(type(f).__module__ == "junkdna_harness.autoload" for f in sys.meta_path) == 1, sys.meta_path
for module in (lm_eval.models, lm_eval.tasks.manager):
    assert "junkdna" not in type(module.__loader__).__module__, module.__loader__
    assert module.__loader__ is module.__spec__.loader
print("joined")
"""
# A finder that asks all others for what it waits for, as ours does, and knows nothing of being asked in turn.
ASKS_ALL = """
import sys
class Asks:
    def find_spec(self, name, path=None, target=None):
        if name not in ("lm_eval.models", "lm_eval.tasks.manager"):
            return None
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(name, path, target)
                if spec is not None:
                    return self.seen(spec)
    def seen(self, spec):
        execute = spec.loader.exec_module
        def exec_module(module):
            execute(module)
            acted.append(module.__name__)
        spec.loader.exec_module = exec_module
        return spec
acted = []
"""
BEFORE_US = ASKS_ALL + "sys.meta_path.insert(0, Asks())\n"
BEHIND_US = ASKS_ALL + "sys.meta_path.insert(1, Asks())\n"
BOTH_ACTED = "assert sorted(set(acted)) == ['lm_eval.models', 'lm_eval.tasks.manager'], acted\n"
RELOAD = "import importlib, junkdna_harness.autoload as a; importlib.reload(a)\n"
AGAIN = "import sys; del sys.modules['junkdna_harness.autoload']; import junkdna_harness.autoload\n"
CASES = {
    "alone": JOINED,
    "reloaded": RELOAD + JOINED,
    "reloaded twice": RELOAD + RELOAD + JOINED,
    "imported again": AGAIN + JOINED,
    "reloaded after lm-eval": JOINED + RELOAD + AGAIN + JOINED,
    "another before us": BEFORE_US + JOINED + BOTH_ACTED,
    "another behind us": BEHIND_US + JOINED + BOTH_ACTED,
    "two others": ASKS_ALL
    + dedent("""
        class AsksOnce(Asks):
            asking = False
            def find_spec(self, name, path=None, target=None):
                if self.asking:
                    return None
                self.asking = True
                try:
                    return super().find_spec(name, path, target)
                finally:
                    self.asking = False
        sys.meta_path[:0] = [AsksOnce()]
        sys.meta_path[2:2] = [AsksOnce()]
    """)
    + JOINED
    + BOTH_ACTED,
    "another, and reloaded": BEHIND_US + RELOAD + JOINED + BOTH_ACTED,
    "the other last of all": ASKS_ALL + "sys.meta_path.append(Asks())\n" + JOINED,
    "two of ours": dedent("""
        import sys
        from junkdna_harness.autoload import _Finder
        sys.meta_path.insert(0, _Finder())
        import lm_eval.models, lm_eval.tasks.manager
        from junkdna_harness.autoload import install
        install()
    """)
    + JOINED,
    "a finder that raises": dedent("""
        import sys
        class Raises:
            def find_spec(self, name, path=None, target=None):
                if name in ("lm_eval.models", "lm_eval.tasks.manager") and self.raises:
                    raise ImportError("no")
        raises = Raises()
        raises.raises = True
        sys.meta_path.insert(1, raises)
        for name in ("lm_eval.models", "lm_eval.tasks.manager"):
            try:
                __import__(name)
            except ImportError as error:
                assert str(error) == "no"
            else:
                raise AssertionError
        raises.raises = False
    """)
    + JOINED,
    "a finder that compares equal to all": dedent("""
        import sys
        class Equal:
            def __eq__(self, other):
                return True
            __hash__ = None
            def find_spec(self, name, path=None, target=None):
                return None
        sys.meta_path.insert(0, Equal())
    """)
    + JOINED,
    "one loader for several modules": dedent("""
        import importlib.machinery, sys
        class Shared:
            __slots__ = ()
            def create_module(self, spec):
                return None
            def exec_module(self, module):
                path = sys.path[0] + "/" + module.__name__.replace(".", "/")
                path += "/__init__.py" if module.__spec__.submodule_search_locations is not None else ".py"
                module.__file__ = path
                exec(compile(open(path).read(), path, "exec"), vars(module))
        shared = Shared()
        class Finds:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "lm_eval":
                    package = name not in ("lm_eval.tasks.manager", "lm_eval.api.registry")
                    return importlib.machinery.ModuleSpec(name, shared, is_package=package)
        sys.meta_path.insert(1, Finds())
    """)
    + JOINED
    + "import lm_eval\nassert lm_eval.models.__loader__ is shared and lm_eval.tasks.__loader__ is shared\n",
    "a class as loader": dedent("""
        import importlib.machinery, sys
        class Frozen:
            executed = []
            @staticmethod
            def create_module(spec):
                return None
            @classmethod
            def exec_module(cls, module):
                cls.executed.append(module.__name__)
                source = importlib.machinery.SourceFileLoader(module.__name__, sys.path[0] + "/lm_eval/models/__init__.py")
                exec(source.get_code(module.__name__), vars(module))
        own = vars(Frozen)["exec_module"]
        class Finds:
            def find_spec(self, name, path=None, target=None):
                if name == "lm_eval.models":
                    return importlib.machinery.ModuleSpec(name, Frozen)
        sys.meta_path.insert(1, Finds())
    """)
    + JOINED
    + "assert vars(Frozen)['exec_module'] is own and Frozen.executed == ['lm_eval.models']\n",
    "a loader without exec_module": dedent("""
        import importlib.machinery, importlib.util, sys, warnings
        warnings.simplefilter("ignore")
        class Old:
            def __init__(self, found):
                self.found = found
            def load_module(self, name):
                module = importlib.util.module_from_spec(self.found)
                sys.modules[name] = module
                self.found.loader.exec_module(module)
                return module
        class Finds:
            def find_spec(self, name, path=None, target=None):
                if name == "lm_eval.tasks.manager":
                    found = importlib.machinery.PathFinder.find_spec(name, path, target)
                    return importlib.machinery.ModuleSpec(name, Old(found), origin=found.origin)
        sys.meta_path.insert(1, Finds())
        import lm_eval.tasks.manager
    """)
    + JOINED.replace(
        "for module in (lm_eval.models, lm_eval.tasks.manager)", "for module in (lm_eval.models,)"
    ),
    "specs that others look at": dedent("""
        import copy, importlib.util
        for _ in range(3):
            spec = importlib.util.find_spec("lm_eval.tasks.manager")
            assert "class TaskIndex" in spec.loader.get_source("lm_eval.tasks.manager")
            copy.copy(spec.loader)
    """)
    + JOINED,
    "one spec for all time": dedent("""
        import importlib.machinery, importlib.util, sys
        import lm_eval.tasks
        kept = importlib.machinery.PathFinder.find_spec("lm_eval.tasks.manager", lm_eval.tasks.__path__)
        class Keeps:
            def find_spec(self, name, path=None, target=None):
                return kept if name == "lm_eval.tasks.manager" else None
        sys.meta_path.insert(1, Keeps())
        for _ in range(3000):
            importlib.util.find_spec("lm_eval.tasks.manager")
    """)
    + JOINED,
    "caches thrown away": "import importlib; importlib.invalidate_caches()\n" + JOINED,
    "lm-eval imported again": JOINED
    + "for name in [n for n in sys.modules if n.split('.')[0] == 'lm_eval']: del sys.modules[name]\n"
    + JOINED,
    "lm-eval reloaded": JOINED
    + "import importlib; importlib.reload(lm_eval.models); importlib.reload(lm_eval.tasks.manager)\n"
    + JOINED,
    "threads": dedent("""
        import importlib, sys, threading
        names = ["lm_eval.models", "lm_eval.tasks.manager"]
        failed = []
        def work(name, start):
            start.wait()
            try:
                if name.endswith("?"):
                    importlib.util.find_spec(name[:-1])
                else:
                    importlib.import_module(name)
            except BaseException as error:
                failed.append(error)
        import importlib.util
        for _ in range(50):
            for name in [n for n in sys.modules if n.split(".")[0] == "lm_eval"]:
                del sys.modules[name]
            start = threading.Barrier(8)
            threads = [threading.Thread(target=work, args=(n, start)) for n in [*names, *(n + "?" for n in names)] * 2]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            # A thread that only looks must not let another one's import pass by us.
            assert "junkdna-pruned" in sys.modules["lm_eval.api.registry"].model_registry
            assert "_junkdna_harness" in vars(sys.modules["lm_eval.tasks.manager"].TaskIndex)
        assert not failed, failed
    """)
    + JOINED,
}


def python(
    code: str, folder: Path, *flags: str, imports: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`code` in a Python that imports from `imports` (the stand-in) first, and that our hook was started in."""
    before = f"import sys; sys.path[:0] = [{imports or str(folder)!r}, {str(ROOT)!r}]\nimport junkdna_harness.autoload\n"
    return subprocess.run(
        [sys.executable, *flags, "-c", before + dedent(code)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


def write(folder: Path) -> Path:
    for name, text in STAND_IN.items():
        path = folder / "lm_eval" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return folder


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("stand_in"))


def joined(run: subprocess.CompletedProcess[str]) -> None:
    assert (run.returncode, run.stderr) == (0, ""), run.stderr[-3000:]
    assert "joined" in run.stdout


@pytest.mark.parametrize("case", CASES)
def test_lm_eval_is_joined_once(case: str, stand_in: Path) -> None:
    joined(python(CASES[case], stand_in))


def test_modules_of_a_zip_file_share_a_loader_and_only_ours_is_acted_on(tmp_path: Path) -> None:
    write(tmp_path)
    with zipfile.ZipFile(tmp_path / "lm_eval.zip", "w") as archive:
        for name in STAND_IN:
            archive.write(tmp_path / "lm_eval" / name, f"lm_eval/{name}")
    (tmp_path / "elsewhere").mkdir()
    code = "import lm_eval.tasks, lm_eval.models, lm_eval.api.registry\n" + JOINED
    joined(python(code, tmp_path / "elsewhere", imports=str(tmp_path / "lm_eval.zip")))


@pytest.mark.parametrize("flags", [["-S"], ["-I"], ["-E"], ["-s", "-B"], ["-OO"]], ids=" ".join)
def test_the_flags_of_python_change_nothing(flags: list[str], stand_in: Path) -> None:
    joined(python(JOINED, stand_in, *flags))


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_a_process_that_is_started_from_another_is_joined(method: str, stand_in: Path) -> None:
    (stand_in / "worker.py").write_text(f"def work():\n{indent(JOINED, '    ')}")
    code = f"""
        import multiprocessing, worker
        if __name__ == "__main__":
            process = multiprocessing.get_context({method!r}).Process(target=worker.work)
            process.start()
            process.join()
            assert process.exitcode == 0, process.exitcode
    """
    joined(python(code, stand_in, PYTHONPATH=f"{stand_in}{os.pathsep}{ROOT}"))


def test_a_part_that_changed_is_told_and_lm_eval_starts(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "lm_eval/tasks/manager.py").write_text("")
    run = python("import lm_eval.tasks.manager; print('started')", tmp_path)
    assert (run.returncode, run.stdout) == (0, "started\n")
    assert run.stderr.startswith("junkdna: could not join lm_eval.tasks.manager: AttributeError")
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize("before", [RELOAD, BEFORE_US, BEHIND_US], ids=["reload", "before us", "behind us"])
def test_the_real_lm_eval_is_joined(before: str, tmp_path: Path) -> None:
    code = """
        import lm_eval.tasks.manager, lm_eval.models
        from lm_eval.api.registry import model_registry
        assert "junkdna-pruned" in model_registry
        assert "_junkdna_harness" in vars(lm_eval.tasks.manager.TaskIndex)
        print("joined")
    """
    joined(python(before + dedent(code), tmp_path))
