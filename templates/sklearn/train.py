"""Trains gradient boosting on the customers and writes it as ONNX. Millrace runs it; by hand it works too:
python train.py --trees 60"""

import argparse
import glob
import json
import os
from pathlib import Path

import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

LABEL = "churned"
NUMBERS = ["tenure_months", "monthly_fee", "support_calls", "days_since_login", "discount"]
TEXTS = ["plan"]
OPSET = {"": 17, "ai.onnx.ml": 3}

# Parameters arrive as --name value (and as JSON in the file MILLRACE_PARAMS).
arguments = argparse.ArgumentParser()
arguments.add_argument("--trees", type=int, default=60)
arguments.add_argument("--rate", type=float, default=0.1)
arguments.add_argument("--leaves", type=int, default=4)
params = arguments.parse_args()

# What Millrace hands over. The second values are for running by hand.
customers = os.environ.get("MILLRACE_INPUT_CUSTOMERS", "data/customers/*.csv")
model_dir = Path(os.environ.get("MILLRACE_MODEL_DIR", "out"))
output_dir = Path(os.environ.get("MILLRACE_OUTPUT_DIR", "out"))
seed = int(os.environ.get("MILLRACE_SEED", "0"))

rows = pd.concat([pd.read_csv(path) for path in sorted(glob.glob(customers))], ignore_index=True)
# float32, as the model will get them when it serves: with float64 a row on a threshold could fall on the other side.
features = rows[NUMBERS].astype("float32").join(rows[TEXTS])
labels = rows[LABEL]

pipeline = make_pipeline(
    ColumnTransformer([("numbers", "passthrough", NUMBERS), ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), TEXTS)]),
    HistGradientBoostingClassifier(max_iter=params.trees, learning_rate=params.rate, max_leaf_nodes=params.leaves, random_state=seed),
)
print('millrace:progress 0.10 "fitting"', flush=True)
pipeline.fit(features, labels)
print('millrace:progress 0.80 "writing ONNX"', flush=True)

# One input per column, [rows, 1] each. zipmap=False gives probabilities as a tensor, which servers can return;
# the default is a list of dictionaries, which they can't.
inputs = [(name, FloatTensorType([None, 1])) for name in NUMBERS] + [(name, StringTensorType([None, 1])) for name in TEXTS]
model = to_onnx(pipeline, initial_types=inputs, target_opset=OPSET, options={"zipmap": False})
model_dir.mkdir(parents=True, exist_ok=True)
(model_dir / "model.onnx").write_bytes(model.SerializeToString())

# Anything may go into metrics.json; Millrace keeps it and judges by its own evaluation on the holdout.
probabilities = pipeline.predict_proba(features)[:, 1]
metrics = {"rows": len(rows), "train": {"logLoss": log_loss(labels, probabilities), "auc": roc_auc_score(labels, probabilities)}}
output_dir.mkdir(parents=True, exist_ok=True)
(output_dir / "metrics.json").write_text(json.dumps(metrics, indent=2))
print(f"trained on {len(rows)} rows, train log loss {metrics['train']['logLoss']:.4f}")
