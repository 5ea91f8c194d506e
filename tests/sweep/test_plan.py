"""Plans: their cells, what is refused before anything is loaded, and what may change in a folder."""

from __future__ import annotations

import json

import pytest

from difficulty.errors import UsageError
from difficulty.runs.table import run_name
from junkdna_harness.compress import sparsifiers
from junkdna_harness.compress.registry import BUILT_IN
from junkdna_harness.sweep.options import parse_model_args, parse_seed, read_plan_file
from junkdna_harness.sweep.plan import Plan, build_plan
from junkdna_harness.sweep.resume import compare


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("patterns: 2:4", "2:4"),  # 124 in YAML 1.1
        ("patterns: 7:8,4:8", "7:8,4:8"),
        ("sparsity: 0:0.9:0.1", "0:0.9:0.1"),
        ("lr: 2e-5", 2e-5),  # a text in YAML 1.1
        ("lr: 1.5E+3", 1500.0),
        ("limit: 010", 10),  # 8 in YAML 1.1
        ("limit: -3", -3),
        ("limit: null", None),
        ("output: 2026-11-25", "2026-11-25"),  # a date in YAML 1.1
        ("methods: [0.5, 1]", [0.5, 1]),
    ],
)
def test_a_plan_s_values_are_what_a_reader_of_the_file_sees(tmp_path, written, read):
    path = tmp_path / "plan.yaml"
    path.write_text(written)
    (found,) = read_plan_file(path).values()
    assert found == read and type(found) is type(read)


def plan(**options) -> Plan:
    return build_plan(**{"tasks": "t", "methods": "magnitude", "sparsity": "0:0.4:0.2", **options})


def ids(given: Plan) -> list[str]:
    return [given.run_id(cell) for cell in given.cells]


def test_the_dense_model_is_first_and_stands_for_level_zero_of_all_methods():
    assert ids(plan(methods="magnitude,wanda")) == [
        "embedded dense", "embedded magnitude 0.2", "embedded magnitude 0.4", "embedded wanda 0.2", "embedded wanda 0.4",
    ]  # fmt: skip


def test_patterns_apply_to_every_method_and_their_level_is_what_goes():
    cells = plan(sparsity=None, patterns="2:4,1:8").cells
    assert [(c.table_method, c.level) for c in cells[1:]] == [
        ("magnitude 2:4", 0.5),
        ("magnitude 1:8", 0.875),
    ]


def test_whatever_is_drawn_is_replicated_and_each_draw_has_its_seed():
    given = plan(
        methods="magnitude,random,wanda,largest", sparsity="0.5", patterns="2:4", quantize="rtn:4,gptq:4,gptq:2", replicates=2,
    )  # fmt: skip
    assert [(c.table_method, c.bits, c.replicate, c.arguments.get("mask_seed")) for c in given.cells[1:]] == [
        ("magnitude", None, 0, None), ("magnitude 2:4", None, 0, None),
        ("random", None, 0, None), ("random 2:4", None, 0, None), ("random", None, 1, 1), ("random 2:4", None, 1, 1),
        ("wanda", None, 0, None), ("wanda 2:4", None, 0, None), ("wanda", None, 1, 1), ("wanda 2:4", None, 1, 1),
        ("largest", None, 0, None), ("largest 2:4", None, 0, None),
        ("rtn", 4, 0, None), ("gptq", 4, 0, None), ("gptq", 2, 0, None), ("gptq", 4, 1, 1), ("gptq", 2, 1, 1),
    ]  # fmt: skip
    assert given.notes == (
        "replicates 2: nothing is drawn by lot for magnitude, largest, rtn, so each run of it is there once.",
    )
    assert ids(given)[-1] == "embedded gptq 2 bits #1"


def test_the_methods_tell_themselves_what_is_drawn():
    built_in = [name for name, found in sparsifiers().items() if found.drawn and name in BUILT_IN]
    assert built_in == ["random", "ria", "sparsegpt", "wanda"]
    for name in BUILT_IN:
        cells = plan(methods=name, sparsity="0.5", replicates=3).cells
        assert len(cells) == (4 if name in built_in else 2)


def test_further_draws_begin_at_the_first_ones_seed():
    given = plan(
        methods="wanda", sparsity="0.5", quantize="gptq:4", replicates=2, model_args="seed=7,nsamples=2"
    )
    assert [{**c.arguments} for c in given.cells[1:]] == [
        {"seed": 7, "nsamples": 2, "method": "wanda", "sparsity": 0.5},
        {"mask_seed": 8, "nsamples": 2, "method": "wanda", "sparsity": 0.5},
        {"seed": 7, "nsamples": 2, "method": "gptq", "bits": 4},
        {"mask_seed": 8, "nsamples": 2, "method": "gptq", "bits": 4},
    ]


def test_where_nothing_is_drawn_a_note_says_so():
    given = plan(sparsity="0.5", quantize="rtn:4", replicates=3)
    assert given.cells == plan(sparsity="0.5", quantize="rtn:4").cells
    assert given.notes == (
        "replicates 3 has no effect here: nothing is drawn by lot for magnitude, rtn, so each run of it is there once.",
    )
    assert plan(methods="wanda", replicates=3).notes == () == plan().notes


def test_more_replicates_only_add():
    given = {"methods": "wanda,random", "sparsity": "0.5", "quantize": "gptq:4"}
    there, more = plan(**given), plan(**given, replicates=3)
    with pytest.raises(UsageError, match="Add --extend"):
        compare(there, more, extend=False)
    on = compare(there, more, extend=True)
    assert on.cells[: len(there.cells)] == there.cells and set(ids(on)) == set(ids(more))


def test_run_ids_are_those_of_the_tidy_table():
    given = plan(methods="random", patterns="2:4", replicates=2)
    for cell in given.cells:
        assert given.run_id(cell) == run_name(
            "embedded", cell.table_method, cell.level, cell.bits, cell.replicate
        )


def test_compression_arguments_in_model_args_reach_every_cell():
    given = plan(model_args="pretrained=a/b,dtype=float32,scope=row,nsamples=8", patterns="2:4")
    assert given.models == ({"pretrained": "a/b", "dtype": "float32"},)
    assert given.cells[1].arguments == {"scope": "row", "nsamples": 8, "method": "magnitude", "sparsity": 0.2}
    assert "scope" not in given.cells[-1].arguments  # N:M has groups of its own


def test_each_kind_of_cell_gets_the_arguments_it_takes():
    given = plan(model_args="scope=row,group_size=32,nsamples=8", sparsity="0.2", quantize="gptq:4")
    assert given.cells[1].arguments == {"scope": "row", "nsamples": 8, "method": "magnitude", "sparsity": 0.2}
    assert given.cells[2].arguments == {"group_size": 32, "nsamples": 8, "method": "gptq", "bits": 4}


def test_file_names_differ_and_hold_no_surprise():
    given = plan(
        methods="magnitude,random",
        patterns="2:4,4:8",
        replicates=2,
        model_args=["pretrained=a/b", "pretrained=c/b"],
    )
    names = [given.file_name(cell) for cell in given.cells]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and "/" not in name and ":" not in name for name in names)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"methods": None, "sparsity": None}, "the grid is empty"),
        ({"methods": None}, "without a method"),
        ({"sparsity": None}, "have no level"),
        ({"methods": "magnitud"}, "magnitude"),
        ({"model_args": "method=wanda"}, "set by the sweep's grid"),
        ({"model_args": "pretrained"}, "not name=value"),
        ({"model_args": ["pretrained=a", "pretrained=a"]}, "there twice"),
        ({"replicates": 0, "methods": "random"}, "replicates=0"),
        ({"replicates": 2**63, "methods": "random"}, "more than 10,000"),
        ({"replicates": "many", "methods": "random"}, "replicates=many"),
        ({"tasks": "a,a"}, "a is there twice"),
        ({"seed": "1,2"}, "neither one whole number nor four"),
        ({"methods": "wanda", "model_args": "scope=global"}, "scope=global"),
        ({"quantize": "bnb-nf4:4"}, "lm_eval --model junkdna-quantized"),
        ({"quantize": "rnt:4"}, "'rnt'"),
        ({"limits": 3}, "Did you mean 'limit'"),
        ({"fewshot_as_multiturn": True}, "needs apply_chat_template"),
    ],
)
def test_what_cannot_be_swept_is_refused(options, told):
    with pytest.raises(UsageError) as error:
        plan(**options)
    assert told in str(error.value)


def test_a_plan_survives_its_file():
    given = plan(patterns="2:4", limit=5, seed="3,None,5,6")
    assert Plan.from_dict(json.loads(json.dumps(given.to_dict()))) == given


def test_seeds_are_lm_evals():
    assert parse_seed("42") == (42, 42, 42, 42)
    assert parse_seed("0,None,8,52") == (0, None, 8, 52)
    assert plan().settings.seed == (0, 1234, 1234, 1234)


def test_model_args_are_read_as_lm_eval_reads_them():
    from lm_eval.utils import simple_parse_args_string

    text = "pretrained=a/b,dtype=float32,trust=True,n=3,x=0.5,nothing=None,revision=main"
    assert parse_model_args(text) == simple_parse_args_string(text)


def test_the_same_plan_goes_on():
    assert compare(plan(), plan(), extend=False) == plan()


def test_more_levels_need_extend_and_then_only_add():
    more = plan(sparsity="0:0.6:0.2")
    with pytest.raises(UsageError, match="Add --extend"):
        compare(plan(), more, extend=False)
    assert ids(compare(plan(), more, extend=True)) == [*ids(plan()), "embedded magnitude 0.6"]


def test_fewer_levels_are_another_plan():
    with pytest.raises(UsageError, match="1 more runs"):
        compare(plan(), plan(sparsity="0:0.2:0.2"), extend=False)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"tasks": "u"}, "tasks"), ({"limit": 3}, "limit"), ({"model_args": "pretrained=x/y"}, "models")],
)
def test_other_models_or_settings_are_another_plan_even_with_extend(change, told):
    with pytest.raises(UsageError, match=f"its {told} is"):
        compare(plan(), plan(**change), extend=True)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("group_size=16", "group_size=32", "group_size of run 'embedded rtn 4 bits' is 16, not 32"),
        ("group_size=16", "", "group_size of run 'embedded rtn 4 bits' is 16, not null"),
        ("symmetric=true", "symmetric=false", "symmetric of run 'embedded rtn 4 bits' is true, not false"),
        ("scope=row", "scope=layer", 'scope of run \'embedded wanda 0.2\' is "row", not "layer"'),
        ("exclude=q_proj", "exclude=k_proj", "exclude of run"),
        ("targets=q_proj", "", "targets of run"),
        ("nsamples=8", "nsamples=16", "nsamples of run"),
        ("seqlen=8", "seqlen=16", "seqlen of run"),
        ("seed=1", "seed=2", "seed of run"),
        ("calibration=a.txt", "calibration=b.txt", "calibration of run"),
        ("dtype=float32", "dtype=bfloat16", "its models is"),
        ("revision=a", "revision=b", "its models is"),
        ("peft=a", "peft=b", "its models is"),
        ("tokenizer=a", "", "its models is"),
    ],
)
@pytest.mark.parametrize(
    "grid", [{}, {"sparsity": "0.3", "quantize": "rtn:8"}], ids=["the same runs", "other runs"]
)
def test_another_compression_argument_is_another_plan(old, new, told, grid):
    """Also where it is of other runs: one name of a method stands for one way of compressing."""
    given = {"methods": "wanda", "sparsity": "0.2", "quantize": "rtn:4"}
    there = plan(**given, model_args=old)
    if grid and " of run" in told:
        told = told.partition(" of run")[0] + " is"
    with pytest.raises(UsageError) as error:
        compare(there, plan(**{**given, **grid}, model_args=new), extend=True)
    assert told in str(error.value)


def test_the_same_argument_written_in_another_way_is_the_same():
    given = {"methods": "wanda", "sparsity": "0.2", "quantize": "rtn:4"}
    there = plan(**given, model_args="nsamples=128,group_size=16")
    again = plan(**given, model_args={"group_size": "16"})  # 128 is the default
    assert compare(there, again, extend=False).models == there.models


def test_what_says_where_it_runs_may_change():
    there, now = (
        plan(model_args="batch_size=4"),
        plan(model_args="batch_size=8,device_map=auto,prefix_cache=false"),
    )
    assert compare(there, now, extend=False).models == now.models


def test_an_argument_that_only_the_new_kind_of_run_takes_may_be_added():
    compare(plan(), plan(quantize="rtn:4", model_args="group_size=16"), extend=True)
    compare(plan(sparsity=None, patterns="2:4"), plan(patterns="2:4", model_args="scope=row"), extend=True)


def test_plan_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no plan"):
        read_plan_file(tmp_path / "no.yaml")
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(UsageError, match="holds no options"):
        read_plan_file(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(UsageError, match="is no YAML"):
        read_plan_file(tmp_path / "broken.yaml")


def test_a_model_with_an_adapter_is_another_model() -> None:
    plan = build_plan("t", "pretrained=org/m,peft=org/adapter", "magnitude", "0.5")
    assert [plan.run_id(cell) for cell in plan.cells] == [
        "org/m+org/adapter dense",
        "org/m+org/adapter magnitude 0.5",
    ]
