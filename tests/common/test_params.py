import shutil

import pytest
import yaml

from stages.common import params
from stages.common.cli import UserError
from tests.support import ROOT, keras_mobilenet_v2


def test_hands_out_the_groups_that_are_asked_for_and_no_others(workplace):
    p = params.read("seed", "finetune")
    assert p.seed == 42 and p.finetune.fine_tune_at == 120 and p.finetune.early_stopping.monitor == "none"
    assert not hasattr(p, "data") and set(p.model_dump()) == {"seed", "finetune"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 43}, "seed was 42 and is 43. "),
        ({"finetune.early_stopping.patience": 4}, "finetune.early_stopping.patience was 3 and is 4. "),
        ({"evaluate.min_metrics": {"auc": 0.5}}, "evaluate.min_metrics was {'accuracy': 0.0} and is {'auc': 0.5}. "),
        ({"seed": 1, "finetune.epochs": 2}, "seed was 42 and is 1; finetune.epochs was 10 and is 2. "),
    ],
)
def test_parameters_that_change_while_a_stage_runs_are_named(workplace, changes, named):
    p = params.read("seed", "finetune", "evaluate")
    workplace.set(changes)
    with pytest.raises(UserError) as error:
        params.check_unchanged(p)
    assert f"params.yaml has changed while this stage ran, so nothing is written: {named}" in str(error.value)


def test_parameters_of_other_stages_and_comments_may_change_while_a_stage_runs(workplace):
    p = params.read("seed", "finetune", "evaluate")
    workplace.set({"data.test": 0.3, "train_frozen.epochs": 7})
    params.check_unchanged(p)


def test_a_number_that_yaml_reads_as_text_is_a_number(workplace):
    workplace.set({"finetune.learning_rate": "1e-05"})
    assert params.read("finetune").finetune.learning_rate == 0.00001


@pytest.mark.parametrize("threshold", [0.3, "max_f1", "precision>=0.95", "precision>=1"])
def test_a_threshold_is_a_number_or_a_criterion(workplace, threshold):
    workplace.set({"evaluate.threshold": threshold})
    assert params.read("evaluate").evaluate.threshold == threshold


def test_parameters_do_not_change_once_they_are_read(workplace):
    with pytest.raises(ValueError, match="frozen"):
        params.read("seed").seed = 43


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"finetune.fine_tune_at": 155}, ["finetune.fine_tune_at", "155", "from 0 to 154"]),
        ({"finetune.fine_tune_at": -1}, ["finetune.fine_tune_at", "-1", "from 0 to 154"]),
        ({"finetune.fine_tune_at": 100.5}, ["finetune.fine_tune_at", "100.5", "whole number"]),
        ({"seed": True}, ["seed", "True", "whole number"]),
        ({"seed": []}, ["seed", "[]", "whole number"]),
        ({"background": "#12"}, ["background is '#12'", "such as white, or '#rrggbb' in quotes"]),
        ({"background": "rgb(1, 2, 3)"}, ["background is 'rgb(1, 2, 3)'", "a colour"]),
        ({"background": "whyte"}, ["background is 'whyte'", "a colour"]),
        ({"background": None}, ["background is missing", "a colour"]),
        ({"batch_size": float("inf")}, ["batch_size", "inf", "whole number"]),
        ({"train_frozen.learning_rate": "fast"}, ["train_frozen.learning_rate", "'fast'", "a number"]),
        ({"train_frozen.learning_rate": 0}, ["train_frozen.learning_rate", "between 0 and 10"]),
        ({"train.dropout": float("nan")}, ["train.dropout", "nan", "from 0 to 0.99"]),
        ({"augmentation.flip": "sideways"}, ["augmentation.flip", "'sideways'", "horizontal_and_vertical"]),
        ({"augmentation.crop": 0}, ["augmentation.crop is 0,", "from 0.01 to 1"]),
        ({"augmentation.crop": 1.1}, ["augmentation.crop", "1.1", "from 0.01 to 1"]),
        ({"augmentation.brightness": -0.1}, ["augmentation.brightness", "-0.1", "from 0 to 1"]),
        ({"augmentation.contrast": 1.1}, ["augmentation.contrast", "1.1", "from 0 to 1"]),
        ({"augmentation.saturation": "grey"}, ["augmentation.saturation", "'grey'", "from 0 to 1"]),
        ({"train.views": 0}, ["train.views", "0", "whole number from 1"]),
        ({"train.views": 2.5}, ["train.views", "2.5", "whole number from 1"]),
        ({"train.l2": -1}, ["train.l2", "-1", "a number from 0"]),
        ({"train_frozen.passes": 0}, ["train_frozen.passes", "0", "whole number from 1"]),
        ({"finetune.passes": 0}, ["finetune.passes", "0", "whole number from 1"]),
        ({"train_frozen.warmup": -0.1}, ["train_frozen.warmup", "-0.1", "from 0 to 0.99"]),
        ({"finetune.warmup": 1}, ["finetune.warmup is 1,", "from 0 to 0.99"]),
        ({"finetune.keep": "best"}, ["finetune.keep", "'best'", "better"]),
        ({"finetune.mix": 0.5}, ["finetune.mix is now finetune.keep: rename it"]),
        ({"train_frozen.keep": "frozen"}, ["train_frozen.keep is not a parameter"]),
        ({"model.weights": "model.keras"}, ["model.weights", "'model.keras'", ".weights.h5"]),
        ({"data.images": 7}, ["data.images", "7", "folder"]),
        ({"data.fold": "6/5"}, ["data.fold is '6/5'", "such as 2/5"]),
        ({"data.fold": "0/5"}, ["data.fold is '0/5'", "such as 2/5"]),
        ({"data.fold": "1/1"}, ["data.fold is '1/1'", "such as 2/5"]),
        ({"data.fold": "2 of 5"}, ["data.fold is '2 of 5'", "none, or a fold"]),
        ({"data.fold": 2}, ["data.fold is 2", "such as 2/5"]),
        ({"data.fold": "1/2", "data.validation": 0.5}, ["data.validation 0.5", "data.fold 1/2", "below 1"]),
        ({"data.label_pattern": "("}, ["data.label_pattern is '('", "with one group in parentheses, such as ^(.+)_"]),
        ({"data.label_pattern": r"\w+"}, ["data.label_pattern", "with one group"]),
        ({"data.group_pattern": "(a)(b)"}, ["data.group_pattern is '(a)(b)'", r"or (patient\d+)"]),
        ({"data.labels": "a.csv", "data.label_pattern": "(a)"}, ["data.labels or data.label_pattern, not both"]),
        ({"data.columns.path": ""}, ["data.columns.path is ''", "the name of a column"]),
        ({"data.near_duplicates": "split"}, ["data.near_duplicates is 'split'", "keep, ignore, drop"]),
        ({"data.test": 0.8}, ["data.validation 0.2", "data.test 0.8", "below 1"]),
        ({"finetune.fine_tune": 3}, ["finetune.fine_tune is not a parameter", "did you mean finetune.fine_tune_at?"]),
        ({"sed": 3}, ["sed is not a parameter", "did you mean seed?"]),
        ({"quux": 3}, ["quux is not a parameter", "there are seed, image_size"]),
        ({"data.images": " "}, ["data.images is ' '", "path of a folder"]),
        ({"evaluate.threshold": None}, ["evaluate.threshold is missing", "between 0 and 1"]),
        ({"evaluate.threshold": 1}, ["evaluate.threshold is 1", "between 0 and 1, max_f1, or a precision"]),
        ({"evaluate.threshold": "max"}, ["evaluate.threshold is 'max'", "max_f1"]),
        ({"evaluate.threshold": "precision>=95"}, ["evaluate.threshold is 'precision>=95'", "precision>=0.95"]),
        ({"evaluate.threshold": "precision>="}, ["evaluate.threshold is 'precision>='", "precision>=0.95"]),
        ({"finetune.schedule": "linear"}, ["finetune.schedule", "'linear'", "constant, cosine"]),
        ({"finetune.early_stopping.monitor": "loss"}, ["finetune.early_stopping.monitor", "'loss'", "val_loss"]),
        ({"finetune.early_stopping.patience": 0}, ["finetune.early_stopping.patience", "0", "from 1"]),
        ({"evaluate.min_metrics": 0.9}, ["evaluate.min_metrics", "0.9", "{accuracy: 0.9}"]),
        ({"evaluate.min_metrics": {"accuracy": 90}}, ["evaluate.min_metrics", "90", "0 to 1"]),
        ({"evaluate.min_metrics": {"speed": 0.9}}, ["evaluate.min_metrics", "speed", "accuracy, auc"]),
        ({"finetune": 3}, ["finetune is 3", "a group of epochs"]),
        ({"data": 3}, ["data is 3", "a group of images"]),
        ({"augmentation": None}, ["augmentation is missing", "a group of flip"]),
        ({"data": {}}, ["data.images is missing", "data.validation is missing"]),
    ],
)
def test_names_the_key_the_value_and_what_is_allowed(workplace, changes, words):
    workplace.set(changes)
    with pytest.raises(UserError) as caught:
        params.read("seed")
    assert all(word in str(caught.value) for word in words), caught.value
    assert "\n" not in str(caught.value) and "pydantic" not in str(caught.value)


@pytest.mark.parametrize(
    "key", [key for key, field in params.fields() if not hasattr(field.annotation, "model_fields")]
)
def test_every_parameter_says_what_it_may_be(workplace, key):
    workplace.set({key: [[]]})
    with pytest.raises(UserError, match=rf"{key} is \[\[\]\], but must be"):
        params.read("seed")


def test_all_that_is_wrong_is_named_at_once(workplace):
    workplace.set({"finetune.fine_tune_at": 155, "image_size": 7, "train.mixed_precision": "float8", "sed": 1})
    with pytest.raises(UserError) as caught:
        params.read("seed")
    for words in ("fine_tune_at is 155", "image_size is 7", "mixed_precision is 'float8'", "did you mean seed?"):
        assert words in str(caught.value)


@pytest.mark.parametrize(("old", "new"), params.RENAMED.items())
def test_an_old_name_leads_to_the_new_one(workplace, old, new):
    tree = yaml.safe_load((workplace.folder / "params.yaml").read_text())
    section, key = new.split(".")
    workplace.set({old: tree[section][key], new: None})
    with pytest.raises(UserError) as caught:
        params.read("seed")
    assert str(caught.value).startswith(f"params.yaml: {old} is now {new}: rename it. ")


def test_an_old_name_hides_no_other_error(workplace):
    workplace.set({"model.dropout": 0.1, "train.dropout": 5, "seed": None})
    with pytest.raises(UserError) as caught:
        params.read("seed")
    for words in ("model.dropout is now train.dropout", "train.dropout is 5", "seed is missing"):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "nearest"),
    [("finetune.epoch", 5, "finetune.epochs"), ("finetun", {"epochs": 5}, "finetune"), ("Seed", 5, "seed")],
)
def test_what_dvcs_advice_has_added_is_named_with_how_to_remove_it(workplace, key, value, nearest):
    workplace.set({key: value})
    remedy = "Correct or delete that, or go back to all settings of the last commit: `git checkout params.yaml`."
    with pytest.raises(UserError) as caught:
        params.read("seed")
    assert str(caught.value) == f"params.yaml: {key} is not a parameter; did you mean {nearest}? {remedy}"


def test_a_group_that_a_value_has_replaced_is_brought_back_by_git(workplace):
    workplace.set({"finetune": 5})
    with pytest.raises(UserError, match="finetune is 5, but must be a group of .*`git checkout params.yaml`.$"):
        params.read("seed")
    workplace.run("cp", ROOT / "params.yaml", "params.yaml")
    workplace.set({"finetune.epochs": 0})  # a wrong value is corrected where it stands
    with pytest.raises(UserError, match="whole number from 1 to 10000.$"):
        params.read("seed")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("finetune.epoch", "did you mean finetune.epochs?"),
        ("finetune.learningrate", "did you mean finetune.learning_rate?"),
        ("finetun.epochs", "did you mean finetune.epochs?"),
        ("Finetune.epochs", "did you mean finetune.epochs?"),
        ("DATA.FOLD", "did you mean data.fold?"),
        ("epochs", "did you mean train_frozen.epochs or finetune.epochs?"),
        ("finetune.dropout", "did you mean train.dropout?"),
        ("model.image_size", "did you mean image_size?"),
        ("finetune.patience", "did you mean finetune.early_stopping.patience?"),
        ("finetune.epochs.most", "did you mean finetune.epochs?"),
        ("finetune.lr", "there are finetune.epochs, finetune.passes"),
        ("quux", "there are seed, image_size"),
        ("train.distribution", "train.distribution is now train.strategy: rename it."),
        ("evaluate.minimum", "evaluate.minimum is now evaluate.min_metrics: rename it."),
        ("finetune", "finetune is a group of parameters; name one of them: finetune.epochs, finetune.passes"),
        ("data.columns", "data.columns is a group of parameters; name one of them: data.columns.names"),
    ],
)
def test_a_change_of_no_parameter_leads_to_the_right_name(workplace, key, words):
    with pytest.raises(UserError) as caught:
        params.check_changes([(key, 5)])
    assert words in str(caught.value) and not str(caught.value).endswith("?.")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("finetune.epochs", "five")], "finetune.epochs is 'five', but must be a whole number from 1 to 10000."),
        ([("finetune.epochs", 2.5)], "finetune.epochs is 2.5, but must be a whole number"),
        ([("finetune.schedule", "Cosine")], "finetune.schedule is 'Cosine', but must be one of constant, cosine."),
        ([("data.classes", "cat")], "data.classes is 'cat', but must be a list of classes"),
        ([("evaluate.min_metrics.speed", 0.5)], "must be a mapping from accuracy, auc"),
        ([("data.labels", "a.csv"), ("data.label_pattern", "(.)")], "set data.labels or data.label_pattern, not both"),
    ],
)
def test_a_wrong_value_of_a_change_is_named_with_what_is_allowed(workplace, changes, words):
    with pytest.raises(UserError) as caught:
        params.check_changes(changes)
    assert words in str(caught.value)


def test_right_changes_pass_and_change_nothing(workplace):
    before = (workplace.folder / "params.yaml").read_bytes()
    params.check_changes([("finetune.epochs", 5), ("evaluate.min_metrics.f1", 0.5), ("data.classes", ["a", "b"])])
    assert (workplace.folder / "params.yaml").read_bytes() == before


def test_a_key_that_is_a_number_is_named(workplace):
    path = workplace.folder / "params.yaml"
    path.write_text(f"{path.read_text()}1: 3\n")
    with pytest.raises(UserError, match="1 is not a parameter; there are seed"):
        params.read("seed")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("data/digits", "data/M\u00fcller", "line 7: another encoding than UTF-8, which DVC requires"),
        ("seed: 42", "seed: 2026-13-45", "line 1: '2026-13-45' is no timestamp. Texts stand in quotes"),
        ("seed: 42", "seed: !!bool perhaps", "line 1: 'perhaps' is no bool"),
        ("seed: 42", "seed: !mine 42", "line 1: could not determine a constructor for the tag '!mine'"),
        ("seed: 42", f"seed: {'9' * 6000}", f"line 1: '{'9' * 40}' is no int"),
        ("seed: 42", f"seed: {'[' * 500}", "line 1: more than 20 groups or lists in each other"),
        ("seed: 42", "seed: 42\nseed: 43", 'line 2: found duplicate key "seed"'),
        ("seed: 42", "\tseed: 42", "line 1: found character '\\t' that cannot start any token"),
        ("seed: 42", "seed: 42\0", "line 1: the character '\\x00'"),
        ("seed: 42", f"a: &a 42\nseed: [{'*a, ' * 21}]", "line 2: there are more than 20 aliases"),
        ("seed: 42", '"\\e[31m": 42', r"'\x1b[31m' is not a parameter"),
        ("seed: 42", f"{'x' * 900}: 42", f"{'x' * 100} is not a parameter"),
        ("seed: 42", "[a]: 42", "('a',) is not a parameter"),
        ("seed: 42", '"\\ud800": 42', "a broken text is not a parameter; there are seed"),
        ("seed: 42", "a.b: 42", "a.b is not a parameter; there are seed"),
        ("seed: 42", "seed: 2026-01-31", "seed is the date 2026-01-31, but must be a whole number"),
        ("seed: 42", f"seed: 0x{'f' * 9000}", "seed is a number of more than 40 digits"),
        ("seed: 42", "seed: &a [*a]", "seed is [[[[...]]]], but must be"),
        ("''", "'(a{4294967296})'", "data.label_pattern is '(a{4294967296})', but must be a regular expression"),
        ("''", f"'{'(' * 5000}{')' * 5000}'", "data.label_pattern is '((((("),
    ],
)
def test_odd_yaml_is_one_short_line(workplace, old, new, words):
    path = workplace.folder / "params.yaml"
    path.write_bytes(path.read_text().replace(old, new, 1).encode("latin-1"))
    with pytest.raises(UserError) as caught:
        params.read("seed")
    text = str(caught.value)
    assert text.startswith("params.yaml") and words in text and text.isprintable() and len(text) < 2000


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "cp500"])
def test_another_encoding_is_named(workplace, encoding):
    path = workplace.folder / "params.yaml"
    path.write_bytes(path.read_text().encode(encoding))
    with pytest.raises(UserError, match=r"params\.yaml is not valid YAML: line 1: "):
        params.read("seed")


def test_values_are_those_that_dvc_reads(workplace):
    path = workplace.folder / "params.yaml"
    text = path.read_text().replace("seed: 42", "seed: 010").replace("classes: []", "classes: [yes, no]")
    path.write_text(text, encoding="utf-8-sig")
    p = params.read("seed", "data")
    assert p.seed == 10 and p.data.classes == ["yes", "no"]


def test_a_folder_in_place_of_the_file_is_one_line(workplace):
    (workplace.folder / "params.yaml").unlink()
    (workplace.folder / "params.yaml").mkdir()
    with pytest.raises(UserError, match=r"params\.yaml: Is a directory"):
        params.read("seed")


def test_a_group_that_is_now_beside_its_data_set_is_named_with_its_file(workplace):
    (workplace.folder / "data/tulips").mkdir(parents=True)
    shutil.copy(ROOT / "params.yaml", workplace.folder / "data/tulips")
    workplace.set({"tulips": {"base_url": "https://a"}})
    with pytest.raises(UserError) as caught:
        params.read("seed")
    words = "params.yaml: tulips is not a group of params.yaml: its parameters are in data/tulips/params.yaml. "
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("text", ["seed: [", "just words", ""])
def test_a_file_that_holds_no_parameters(workplace, text):
    (workplace.folder / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml"):
        params.read("seed")


def test_without_a_file_it_says_where_to_run(workplace):
    (workplace.folder / "params.yaml").unlink()
    with pytest.raises(UserError, match="root of the repository"):
        params.read("seed")


def test_the_number_of_layers_is_that_of_mobilenet_v2():
    assert len(keras_mobilenet_v2().layers) == params.BASE_LAYERS


def test_the_defaults_are_those_that_the_project_comes_with():
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert params.defaults() == params.flatten(shipped)


def test_flattens_to_dotted_keys(workplace):
    flat = params.flatten(params.read("seed", "finetune", "evaluate").model_dump())
    assert flat["seed"] == 42 and flat["finetune.early_stopping.patience"] == 3
    assert flat["evaluate.min_metrics"] == {"accuracy": 0} and "finetune" not in flat
