"""Builds models with the converters that people use, and answers of Python's onnxruntime to compare with.

    python build_zoo.py FOLDER

Each model becomes FOLDER/<name>/model.onnx (its weights beside it where it has external data) with case.json:

    {"requests": [{"inputs": [tensor with its name], "outputs": {name: tensor}}],  a tensor: datatype, shape, data
     "classes": {output: [labels]}, "skipped": [outputs that are no tensors]}
    {"refused": "MR_MODEL_…"}                       for what can't be served

FOLDER/zoo.json lists what was built, and what was left out with the reason. 64-bit integers are text, NaN is null.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

warnings.filterwarnings("ignore")
RNG = np.random.default_rng(7)
DATATYPES = {
    "float32": "FP32", "float64": "FP64", "int64": "INT64", "int32": "INT32", "int8": "INT8", "uint8": "UINT8",
    "bool": "BOOL", "object": "BYTES",
}
BUILDERS = []


def model(function):
    """Registers a builder: it gets the folder, and returns the rows to ask for by input, or the code of a refusal."""
    BUILDERS.append(function)
    return function


# What goes into a case


def plain(value):
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return str(value)


def tensor(array):
    array = np.asarray(array)
    if array.dtype.kind in "US":
        array = array.astype(object)
    datatype = DATATYPES[str(array.dtype)]
    data = [plain(value) for value in array.reshape(-1)]
    if datatype == "INT64":
        data = [str(value) for value in data]
    return {"datatype": datatype, "shape": list(array.shape), "data": data}


def answers(path, feeds):
    """Python's answers as tensors; a list of dictionaries becomes one column for each key."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    outputs, classes, skipped = {}, {}, []
    for output, value in zip(session.get_outputs(), session.run(None, feeds)):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            keys = list(value[0])
            classes[output.name] = [str(key) for key in keys]
            outputs[output.name] = tensor(np.array([[row[key] for key in keys] for row in value], dtype=np.float32))
        elif isinstance(value, (list, dict)):
            skipped.append(output.name)
        else:
            outputs[output.name] = tensor(value)
    return outputs, classes, skipped


def write_case(folder, rows, fixed):
    requests = []
    total = len(next(iter(rows.values())))
    for count in [1] if fixed else [1, total]:
        feeds = {name: np.asarray(array)[:count] for name, array in rows.items()}
        outputs, classes, skipped = answers(folder / "model.onnx", feeds)
        inputs = [{"name": name, **tensor(array)} for name, array in feeds.items()]
        requests.append({"inputs": inputs, "outputs": outputs})
    case = {"requests": requests, "classes": classes, "skipped": skipped}
    (folder / "case.json").write_text(json.dumps(case, allow_nan=False))


# scikit-learn


def iris(rows=150):
    from sklearn.datasets import load_iris

    data = load_iris()
    return data.data.astype(np.float32)[:rows], data.target[:rows], data.target_names


def save(folder, built):
    (folder / "model.onnx").write_bytes(built.SerializeToString())


def convert(folder, fitted, types=None, **options):
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    types = types or [("X", FloatTensorType([None, 4]))]
    save(folder, to_onnx(fitted, initial_types=types, **options))


@model
def sklearn_logistic_zipmap(folder):
    from sklearn.linear_model import LogisticRegression

    x, y, _ = iris()
    convert(folder, LogisticRegression(max_iter=500).fit(x, y))
    return {"X": x[::20]}


@model
def sklearn_logistic_text_labels(folder):
    from sklearn.linear_model import LogisticRegression

    x, y, names = iris()
    convert(folder, LogisticRegression(max_iter=500).fit(x, names[y]))
    return {"X": x[::20]}


@model
def sklearn_forest_binary_zipmap(folder):
    from sklearn.ensemble import RandomForestClassifier

    x, y, _ = iris()
    convert(folder, RandomForestClassifier(20, random_state=1).fit(x, y == 1))
    return {"X": x[::20]}


@model
def sklearn_boosting_without_zipmap(folder):
    from sklearn.ensemble import GradientBoostingClassifier

    x, y, _ = iris()
    fitted = GradientBoostingClassifier(n_estimators=10, random_state=1).fit(x, y)
    convert(folder, fitted, options={"zipmap": False})
    return {"X": x[::20]}


@model
def sklearn_zipmap_columns(folder):
    from sklearn.linear_model import LogisticRegression

    x, y, _ = iris()
    convert(folder, LogisticRegression(max_iter=500).fit(x, y), options={"zipmap": "columns"})
    return {"X": x[::20]}


@model
def sklearn_svc_zipmap(folder):
    from sklearn.svm import SVC

    x, y, _ = iris()
    convert(folder, SVC(probability=True, random_state=1).fit(x, y))
    return {"X": x[::20]}


@model
def sklearn_neighbours(folder):
    from sklearn.neighbors import KNeighborsClassifier

    x, y, _ = iris()
    convert(folder, KNeighborsClassifier(3).fit(x, y))
    return {"X": x[::20]}


@model
def sklearn_naive_bayes_zipmap(folder):
    from sklearn.naive_bayes import GaussianNB

    x, y, _ = iris()
    convert(folder, GaussianNB().fit(x, y))
    return {"X": x[::20]}


@model
def sklearn_perceptron_zipmap(folder):
    from sklearn.neural_network import MLPClassifier

    x, y, _ = iris()
    convert(folder, MLPClassifier((8,), max_iter=200, random_state=1).fit(x, y))
    return {"X": x[::20]}


@model
def sklearn_clusters(folder):
    from sklearn.cluster import KMeans

    x, _, _ = iris()
    convert(folder, KMeans(3, n_init=1, random_state=1).fit(x))
    return {"X": x[::20]}


@model
def sklearn_regressor(folder):
    from sklearn.ensemble import GradientBoostingRegressor

    x, _, _ = iris()
    convert(folder, GradientBoostingRegressor(n_estimators=20, random_state=1).fit(x, x[:, 0] * x[:, 1]))
    return {"X": x[::20]}


@model
def sklearn_regressor_of_several(folder):
    from sklearn.linear_model import LinearRegression

    x, _, _ = iris()
    convert(folder, LinearRegression().fit(x, x[:, :3] * 2 + 1))
    return {"X": x[::20]}


@model
def sklearn_regressor_double(folder):
    from skl2onnx.common.data_types import DoubleTensorType
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, _, _ = iris()
    x = x.astype(np.float64) + RNG.normal(0, 1e-9, x.shape)
    fitted = make_pipeline(StandardScaler(), Ridge()).fit(x, x @ [1, 2, 3, 4])
    convert(folder, fitted, [("X", DoubleTensorType([None, 4]))])
    return {"X": x[::20]}


@model
def sklearn_fixed_batch(folder):
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.linear_model import LogisticRegression

    x, y, _ = iris()
    convert(folder, LogisticRegression(max_iter=500).fit(x, y), [("X", FloatTensorType([1, 4]))])
    return {"X": x[::20]}, "fixed"


@model
def sklearn_old_opset(folder):
    from sklearn.linear_model import LogisticRegression

    x, y, _ = iris()
    convert(folder, LogisticRegression(max_iter=500).fit(x, y), target_opset={"": 9, "ai.onnx.ml": 1})
    return {"X": x[::20]}


@model
def sklearn_new_opset(folder):
    from skl2onnx import __max_supported_opset__
    from sklearn.linear_model import LogisticRegression

    x, y, _ = iris()
    newest = {"": __max_supported_opset__, "ai.onnx.ml": 3}
    convert(folder, LogisticRegression(max_iter=500).fit(x, y), target_opset=newest)
    return {"X": x[::20]}


@model
def sklearn_columns_of_all_kinds(folder):
    import pandas
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    cities = np.array(["Zürich", "東京", "Łódź", "Reykjavík 🌋"])
    count = 200
    table = pandas.DataFrame({
        "age": RNG.uniform(18, 80, count).astype(np.float32),
        "visits": RNG.integers(0, 50, count),
        "city": cities[RNG.integers(0, 4, count)],
        "plan": np.array(["basic", "plus"])[RNG.integers(0, 2, count)],
    })
    target = np.where((table["age"] > 40) ^ (table["plan"] == "plus"), "leaves", "stays")
    transform = ColumnTransformer([
        ("numbers", StandardScaler(), ["age", "visits"]),
        ("text", OneHotEncoder(handle_unknown="ignore"), ["city", "plan"]),
    ])
    fitted = Pipeline([("columns", transform), ("model", LogisticRegression(max_iter=500))]).fit(table, target)
    types = [
        ("age", FloatTensorType([None, 1])), ("visits", Int64TensorType([None, 1])),
        ("city", StringTensorType([None, 1])), ("plan", StringTensorType([None, 1])),
    ]
    convert(folder, fitted, types)
    rows = table.head(9)
    return {
        "age": rows[["age"]].to_numpy(np.float32), "visits": rows[["visits"]].to_numpy(np.int64),
        "city": rows[["city"]].to_numpy(object), "plan": rows[["plan"]].to_numpy(object),
    }


@model
def sklearn_words(folder):
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    said = ["good film", "bad film", "good plot and good cast", "bad cast", "film of the year", "waste of time"]
    texts = np.array(said * 5)
    target = np.array([1, 0, 1, 0, 1, 0] * 5)
    fitted = make_pipeline(CountVectorizer(lowercase=False), LogisticRegression()).fit(texts, target)
    convert(folder, fitted, [("text", StringTensorType([None, 1]))])
    return {"text": texts[:6].reshape(-1, 1).astype(object)}


# Boosters


def convert_xgboost(folder, fitted):
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [("X", FloatTensorType([None, 4]))]
    save(folder, onnxmltools.convert_xgboost(fitted, initial_types=types, target_opset=15))


@model
def xgboost_binary(folder):
    import xgboost

    x, y, _ = iris()
    fitted = xgboost.XGBClassifier(n_estimators=10, max_depth=3).fit(x, (y == 1).astype(int))
    convert_xgboost(folder, fitted)
    return {"X": x[::20]}


@model
def xgboost_classes(folder):
    import xgboost

    x, y, _ = iris()
    fitted = xgboost.XGBClassifier(n_estimators=10, max_depth=3).fit(x, y)
    convert_xgboost(folder, fitted)
    return {"X": x[::20]}


@model
def xgboost_regressor(folder):
    import xgboost

    x, _, _ = iris()
    fitted = xgboost.XGBRegressor(n_estimators=10, max_depth=3).fit(x, x[:, 0] * x[:, 1])
    convert_xgboost(folder, fitted)
    return {"X": x[::20]}


def lightgbm(folder, fitted, **options):
    import onnxmltools
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [("X", FloatTensorType([None, 4]))]
    save(folder, onnxmltools.convert_lightgbm(fitted, initial_types=types, target_opset=15, **options))


@model
def lightgbm_binary_zipmap(folder):
    from lightgbm import LGBMClassifier

    x, y, _ = iris()
    lightgbm(folder, LGBMClassifier(n_estimators=10, verbose=-1, num_threads=1).fit(x, (y == 1).astype(int)))
    return {"X": x[::20]}


@model
def lightgbm_classes_zipmap(folder):
    from lightgbm import LGBMClassifier

    x, y, _ = iris()
    lightgbm(folder, LGBMClassifier(n_estimators=10, verbose=-1, num_threads=1).fit(x, y))
    return {"X": x[::20]}


@model
def lightgbm_classes_without_zipmap(folder):
    from lightgbm import LGBMClassifier

    x, y, _ = iris()
    lightgbm(folder, LGBMClassifier(n_estimators=10, verbose=-1, num_threads=1).fit(x, y), zipmap=False)
    return {"X": x[::20]}


@model
def lightgbm_regressor(folder):
    from lightgbm import LGBMRegressor

    x, _, _ = iris()
    lightgbm(folder, LGBMRegressor(n_estimators=10, verbose=-1, num_threads=1).fit(x, x[:, 0] * x[:, 1]))
    return {"X": x[::20]}


CATBOOST = {"iterations": 10, "depth": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False}


def catboost(folder, fitted):
    fitted.save_model(str(folder / "model.onnx"), format="onnx")


@model
def catboost_binary(folder):
    from catboost import CatBoostClassifier

    x, y, _ = iris()
    catboost(folder, CatBoostClassifier(**CATBOOST).fit(x, (y == 1).astype(int)))
    return {"features": x[::20]}


@model
def catboost_text_classes(folder):
    from catboost import CatBoostClassifier

    x, y, names = iris()
    catboost(folder, CatBoostClassifier(**CATBOOST).fit(x, names[y]))
    return {"features": x[::20]}


@model
def catboost_regressor(folder):
    from catboost import CatBoostRegressor

    x, _, _ = iris()
    catboost(folder, CatBoostRegressor(**CATBOOST).fit(x, x[:, 0] * x[:, 1]))
    return {"features": x[::20]}


# What exporters of neural networks do, written with onnx itself


def graph(nodes, inputs, outputs, initializers=(), opset=17, ir=8, domains=()):
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    return helper.make_model(made, opset_imports=opsets, ir_version=ir)


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def dense(width=4, hidden=512):
    w1 = numpy_helper.from_array(RNG.normal(size=(width, hidden)).astype(np.float32), "layer.0/weight")
    w2 = numpy_helper.from_array(RNG.normal(size=(hidden, 2)).astype(np.float32), "layer.1/weight")
    nodes = [
        helper.make_node("MatMul", ["input", "layer.0/weight"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "layer.1/weight"], ["logits"]),
    ]
    inputs = [value("input", TensorProto.FLOAT, ["batch", width])]
    return graph(nodes, inputs, [value("logits", TensorProto.FLOAT, ["batch", 2])], [w1, w2])


@model
def weights_in_one_file(folder):
    one = {"save_as_external_data": True, "location": "model.onnx.data", "size_threshold": 0}
    onnx.save_model(dense(), str(folder / "model.onnx"), **one)
    return {"input": RNG.normal(size=(5, 4)).astype(np.float32)}


@model
def weights_in_many_files(folder):
    many = {"save_as_external_data": True, "all_tensors_to_one_file": False, "size_threshold": 0}
    onnx.save_model(dense(), str(folder / "model.onnx"), **many)
    return {"input": RNG.normal(size=(5, 4)).astype(np.float32)}


@model
def integers_beyond_doubles(folder):
    one = numpy_helper.from_array(np.array([1], dtype=np.int64), "one")
    nodes = [helper.make_node("Add", ["x", "one"], ["y"])]
    built = graph(nodes, [value("x", TensorProto.INT64, ["N"])], [value("y", TensorProto.INT64, ["N"])], [one])
    save(folder, built)
    return {"x": np.array([2**53, 2**53 + 1, -(2**63), 2**63 - 2, 0], dtype=np.int64)}


@model
def text_through(folder):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    save(folder, graph(nodes, [value("x", TensorProto.STRING, ["N", 2])], [value("y", TensorProto.STRING, ["N", 2])]))
    return {"x": np.array([["", "ß"], ["e\u0301", "👩‍🚀"], ["a\nb", "\\\""]], dtype=object)}


@model
def many_kinds(folder):
    kinds = {
        "f64": (TensorProto.DOUBLE, np.float64), "i32": (TensorProto.INT32, np.int32),
        "i8": (TensorProto.INT8, np.int8), "u8": (TensorProto.UINT8, np.uint8),
        "b": (TensorProto.BOOL, np.bool_), "i64": (TensorProto.INT64, np.int64),
    }
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in kinds]
    inputs = [value(name, kind, [None, 2]) for name, (kind, _) in kinds.items()]
    outputs = [value(f"{name}_out", kind, [None, 2]) for name, (kind, _) in kinds.items()]
    save(folder, graph(nodes, inputs, outputs))
    return {name: RNG.integers(0, 2, (3, 2)).astype(dtype) for name, (_, dtype) in kinds.items()}


@model
def output_of_unknown_rank(folder):
    nodes = [helper.make_node("Mul", ["x", "x"], ["y"])]
    built = graph(nodes, [value("x", TensorProto.FLOAT, ["", 3])], [value("y", TensorProto.FLOAT, None)])
    save(folder, built)
    return {"x": RNG.normal(size=(4, 3)).astype(np.float32)}


@model
def image(folder):
    pool = helper.make_node("GlobalAveragePool", ["pixels"], ["pooled"])
    nodes = [pool, helper.make_node("Flatten", ["pooled"], ["mean"])]
    inputs = [value("pixels", TensorProto.FLOAT, ["N", 3, "height", "width"])]
    save(folder, graph(nodes, inputs, [value("mean", TensorProto.FLOAT, ["N", 3])]))
    return {"pixels": RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)}


@model
def sequence_beside_a_tensor(folder):
    nodes = [helper.make_node("SequenceConstruct", ["x"], ["parts"]), helper.make_node("Neg", ["x"], ["y"])]
    parts = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)
    inputs = [value("x", TensorProto.FLOAT, ["N", 2])]
    save(folder, graph(nodes, inputs, [parts, value("y", TensorProto.FLOAT, ["N", 2])]))
    return {"x": RNG.normal(size=(3, 2)).astype(np.float32)}


# What can't be served


@model
def refused_only_sequences(folder):
    nodes = [helper.make_node("SequenceConstruct", ["x"], ["parts"])]
    parts = helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)
    save(folder, graph(nodes, [value("x", TensorProto.FLOAT, ["N", 2])], [parts]))
    return "MR_MODEL_SHAPE"


@model
def refused_bfloat16_input(folder):
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    save(folder, graph(nodes, [value("x", TensorProto.BFLOAT16, ["N"])], [value("y", TensorProto.BFLOAT16, ["N"])]))
    return "MR_MODEL_UNSUPPORTED_TYPE"


@model
def refused_bfloat16_inside(folder):
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.BFLOAT16), helper.make_node("MatMul", ["h", "h"], ["p"]),
        helper.make_node("Cast", ["p"], ["y"], to=TensorProto.FLOAT),
    ]
    save(folder, graph(nodes, [value("x", TensorProto.FLOAT, [2, 2])], [value("y", TensorProto.FLOAT, [2, 2])]))
    return "MR_MODEL_UNSUPPORTED_OPERATOR"


@model
def refused_foreign_operator(folder):
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example")]
    x, y = value("x", TensorProto.FLOAT, ["N"]), value("y", TensorProto.FLOAT, ["N"])
    save(folder, graph(nodes, [x], [y], domains=["com.example"]))
    return "MR_MODEL_UNSUPPORTED_OPERATOR"


@model
def refused_made_up_operator(folder):
    nodes = [helper.make_node("Frobnicate", ["x"], ["y"])]
    save(folder, graph(nodes, [value("x", TensorProto.FLOAT, ["N"])], [value("y", TensorProto.FLOAT, ["N"])]))
    return "MR_MODEL_UNSUPPORTED_OPERATOR"


@model
def refused_opset_of_the_future(folder):
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    save(folder, graph(nodes, [value("x", TensorProto.FLOAT, ["N"])], [value("y", TensorProto.FLOAT, ["N"])], opset=99))
    return "MR_MODEL_UNSUPPORTED_OPERATOR"


@model
def refused_format_of_the_future(folder):
    nodes = [helper.make_node("Neg", ["x"], ["y"])]
    save(folder, graph(nodes, [value("x", TensorProto.FLOAT, ["N"])], [value("y", TensorProto.FLOAT, ["N"])], ir=99))
    return "MR_MODEL_UNSUPPORTED_OPERATOR"


@model
def refused_lost_weights(folder):
    weights_in_one_file(folder)
    (folder / "model.onnx.data").unlink()
    return "MR_MODEL_EXTERNAL_DATA"


@model
def refused_zipmap_in_a_branch(folder):
    def branch(name):
        keys = {"classlabels_int64s": [0, 1]}
        node = helper.make_node("ZipMap", ["x"], [name], domain="ai.onnx.ml", **keys)
        return helper.make_graph([node], name, [], [onnx.ValueInfoProto(name=name)])

    node = helper.make_node("If", ["flag"], ["zipped"], then_branch=branch("a"), else_branch=branch("b"))
    zipped = onnx.ValueInfoProto(name="zipped")
    zipped.type.sequence_type.elem_type.map_type.key_type = TensorProto.INT64
    zipped.type.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = TensorProto.FLOAT
    inputs = [value("x", TensorProto.FLOAT, ["N", 2]), value("flag", TensorProto.BOOL, [])]
    copy = helper.make_node("Identity", ["x"], ["y"])
    built = graph([node, copy], inputs, [zipped, value("y", TensorProto.FLOAT, ["N", 2])], domains=["ai.onnx.ml"])
    save(folder, built)
    return "MR_MODEL_ZIPMAP"


def build(function, target):
    folder = target / function.__name__.replace("_", "-")
    folder.mkdir(parents=True, exist_ok=True)
    made = function(folder)
    if isinstance(made, str):
        (folder / "case.json").write_text(json.dumps({"refused": made}))
    else:
        rows, fixed = made if isinstance(made, tuple) else (made, None)
        write_case(folder, rows, fixed is not None)
    return folder.name


def main():
    target = pathlib.Path(sys.argv[1])
    built, left_out = [], {"torch": "there is no small build of it in the registry"}
    for function in BUILDERS:
        try:
            built.append(build(function, target))
        except Exception as error:  # each converter keeps its own pace with the libraries
            left_out[function.__name__.replace("_", "-")] = f"{type(error).__name__}: {str(error)[:300]}"
    (target / "zoo.json").write_text(json.dumps({"built": built, "leftOut": left_out}, indent=1))


main()
