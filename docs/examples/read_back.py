"""Read the newest run back: its metadata, one metric, and a line for each stage.

Run ``first_run.py`` before. Reading needs no server and no lock, so it works while the run is live.
"""

import runicorn as rn

newest = rn.runs(path="cv")[0]
print(newest.id, newest.status, newest.best_metric_name, newest.best_metric_value)

run = rn.load(newest)
loss = run["train_loss"]
print(len(loss), "values, the last one", loss.value[-1], "at step", loss.step[-1])

for stage in sorted(set(loss.stage)):
    print(stage, min(loss.of(stage=stage).value))
