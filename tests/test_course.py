"""course: what runs, with which parameters, and what is said when something fails."""

import json

import nbformat
import pytest

from lipsync_utils import course
from lipsync_utils.errors import NotebookError, SettingError

PARAMETERS = 'preset: str = "sample"  # a = b\nmax_clips: int = None  # None: from the preset\nwait_s: float = 0.5'


def notebook(folder, name, *cells, parameters=PARAMETERS):
    """A notebook file of code cells, the first one tagged parameters (None: no such cell)."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    if parameters is not None:
        book.cells.append(nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    book.cells += [nbformat.v4.new_code_cell(cell) for cell in cells]
    folder.mkdir(exist_ok=True)
    nbformat.write(book, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.fixture
def house(tmp_path, monkeypatch):
    """An empty project folder of its own for a run: data/, outputs/."""
    monkeypatch.setenv("LIPSYNC_HOME", str(tmp_path))
    return tmp_path


def test_the_course_is_the_numbered_notebooks_in_order(tmp_path):
    for name in ("02_split", "00_tour", "app", "10_scratch"):
        notebook(tmp_path, name)
    assert [p.stem for p in course.discover(tmp_path)] == ["00_tour", "02_split", "10_scratch"]
    assert [p.stem for p in course.discover(tmp_path, ["10", "02_split"])] == ["02_split", "10_scratch"]
    assert [p.stem for p in course.discover(tmp_path, ["app"])] == ["app"]
    with pytest.raises(SettingError, match="no notebook '03'.*00_tour"):
        course.discover(tmp_path, ["03"])
    with pytest.raises(SettingError, match="no notebook"):
        course.discover(tmp_path / "elsewhere")


def test_declared_reads_the_annotations(tmp_path):
    types = course.declared(notebook(tmp_path, "01_x"))
    assert types == {"preset": str, "max_clips": int, "wait_s": float}
    assert course.declared(notebook(tmp_path, "02_x", parameters=None)) == {}


@pytest.mark.parametrize(
    "cell",
    [
        "x = 1",
        "x: int",
        "x: int = 'a'",
        "x: int | None = None",
        "import os",
        "x: int = f(2)",
        "x: int = 1 +",
        "x: bool = 1",
        "x: complex = None",
    ],
)
def test_a_parameters_cell_of_anything_else_is_refused(tmp_path, cell):
    with pytest.raises(SettingError, match="01_x"):
        course.declared(notebook(tmp_path, "01_x", parameters=cell))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_clip": 3}, "no parameter|has a parameter 'max_clip'.*max_clips"),
        ({"max_clips": 2.0}, "max_clips wants int, got 2.0"),
        ({"max_clips": True}, "max_clips wants int"),
        ({"wait_s": "1"}, "wait_s wants float"),
        ({"preset": "tiny"}, "no preset named 'tiny'"),
        ({"preset": 3}, "preset wants str"),
    ],
)
def test_a_wrong_parameter_stops_before_anything_runs(house, given, words):
    first = notebook(house / "notebooks", "01_x", "open('ran', 'w')", parameters=None)
    second = notebook(house / "notebooks", "02_x")
    with pytest.raises(SettingError, match=words):
        course.run([first, second], given, house / "executed")
    assert not (house / "executed").exists() and not (house / "notebooks" / "ran").exists()


def test_none_and_whole_numbers_fit(tmp_path):
    path = notebook(tmp_path, "01_x")
    assert course.check([path], {"max_clips": None, "wait_s": 2}) == {path: {"max_clips": None, "wait_s": 2}}


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("None", int, None),
        ("1e-3", float, 1e-3),
        ("True", bool, True),
        ("false", bool, False),
        ("3", str, "3"),
        ("[1, 'a']", list, [1, "a"]),
        ("{'a': 1}", dict, {"a": 1}),
        ("a=b c", str, "a=b c"),
    ],
)
def test_values_typed_in_a_terminal(text, kind, value):
    assert course.fitting("x", text, kind, text=True) == value


@pytest.mark.parametrize(
    ("text", "kind"), [("3.5", int), ("x", float), ("1", bool), ("[", list), ("__import__('os')", list)]
)
def test_wrong_values_typed_in_a_terminal(text, kind):
    with pytest.raises(SettingError, match="wants"):
        course.fitting("x", text, kind, text=True)


def test_a_run_from_the_command_line_and_a_second_one(house, capsys):
    record = (
        "from lipsync_utils.project import record_results\n"
        "record_results('02_split', n_clips=max_clips, preset=preset, kept_s=1 / 3)"
    )
    notebook(house / "notebooks", "01_collect", "open('../seen', 'a').write('1')", parameters=None)
    notebook(house / "notebooks", "02_split_on_silence", "open('../seen', 'a').write('2')", record)
    command = ["--notebooks", str(house / "notebooks"), "--preset", "sample", "-p", "max_clips=3"]
    assert course.main(command) == 0
    said = capsys.readouterr().out
    assert (house / "seen").read_text() == "12"
    executed = house / "outputs" / "executed"
    assert {p.name for p in executed.iterdir() if not p.name.startswith(".")} == {
        "01_collect.ipynb",
        "01_collect.html",
        "02_split_on_silence.ipynb",
        "02_split_on_silence.html",
        "summary.json",
    }
    assert "<script" not in (executed / "02_split_on_silence.html").read_text(), "it asks nothing of the network"
    summary = json.loads((executed / "summary.json").read_text())
    assert summary["ok"] and summary["notebooks"][1]["numbers"] == {"n_clips": 3, "preset": "sample", "kept_s": 1 / 3}
    assert summary["notebooks"][1]["parameters"] == {"preset": "sample", "max_clips": 3}
    assert "[1/2] 01_collect, about 2 min to go\n" in said and "[2/2] 02_split_on_silence, about 1 min to go\n" in said
    row = next(line for line in said.splitlines() if line.strip().startswith("02_split_on_silence "))
    assert " ok " in row and "n_clips=3" in row and "kept_s=0.3333" in row

    assert course.main([*command[:-1], "max_clips=4", "--only", "02"]) == 0
    assert "02_split_on_silence, about 0 min to go" in capsys.readouterr().out
    assert (house / "seen").read_text() == "122"
    summary = json.loads((executed / "summary.json").read_text())
    assert [row["notebook"] for row in summary["notebooks"]] == ["01_collect", "02_split_on_silence"]


def test_a_failing_notebook_names_its_cell_and_ends_the_run(house, capsys):
    notebook(house / "notebooks", "01_good", "1 + 1", parameters=None)
    notebook(house / "notebooks", "02_bad", "x = 1", "# why\nassert x > 1, 'raise silence_dbfs'", "open('later', 'w')")
    notebook(house / "notebooks", "03_after", parameters=None)
    assert course.main(["--notebooks", str(house / "notebooks")]) == 1
    said = capsys.readouterr().out
    assert "02_bad, cell 3 (`assert x > 1, 'raise silence_dbfs'`): AssertionError: raise silence_dbfs" in said
    assert any(line.strip().startswith("03_after") and "not run" in line for line in said.splitlines())
    assert (house / "outputs" / "executed" / "02_bad.html").exists() and not (house / "notebooks" / "later").exists()
    assert not json.loads((house / "outputs" / "executed" / "summary.json").read_text())["ok"]


def test_a_dying_kernel_names_its_cell(house):
    path = notebook(house / "notebooks", "01_x", "import os", "os._exit(3)", parameters=None)
    with pytest.raises(NotebookError, match=r"01_x, cell 2 \(`os._exit\(3\)`\): DeadKernelError"):
        course.run(path, {}, house / "executed")
    assert not json.loads((house / "executed" / "summary.json").read_text())["ok"]


def test_a_page_has_no_scripts_no_bars_and_says_where_a_widget_was(tmp_path):
    code = nbformat.v4.new_code_cell("bar; picker")
    for text in ("split:   0%|          | 0/5 [00:00<?, ?video/s]", "FacePicker(children=(Stage()))"):
        data = {"text/plain": text, "application/vnd.jupyter.widget-view+json": {"model_id": "a"}}
        code.outputs.append(nbformat.v4.new_output("display_data", data))
    page = course.as_html(nbformat.v4.new_notebook(cells=[code]), tmp_path / "a.ipynb")
    assert "<script" not in page and "0%|" not in page and "FacePicker" not in page
    assert "(a widget: it works in the open notebook)" in page


def test_the_kernels_own_log_stays_off_the_terminal(house, capfd):
    words = "get_ipython().kernel.log.error('KeyboardInterrupt caught in kernel.')"
    path = notebook(house / "notebooks", "01_x", words, parameters=None)
    course.run(path, {}, house / "executed")
    assert "KeyboardInterrupt" not in "".join(capfd.readouterr())


def test_unknown_words_on_the_command_line(house, capsys):
    notebook(house / "notebooks", "01_x")
    for words, said in (
        (["-p", "max_clips"], "NAME=VALUE"),
        (["--preset", "huge"], "no preset named 'huge'"),
        (["--only", "7"], "no notebook '7'"),
        (["-p", "max_clips=many"], "wants int"),
    ):
        assert course.main(["--notebooks", str(house / "notebooks"), *words]) == 2
        assert said in capsys.readouterr().out
