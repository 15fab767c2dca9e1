"""Record a run: metrics, a configuration, text and a summary.

Run it with ``python first_run.py``. The run's files are then below ``.runicorn`` in the working directory, or below
``RUNICORN_DIR``.
"""

import runicorn as rn

with rn.init(path="cv/resnet50/baseline", alias="seed-42") as run:
    run.set_primary_metric("val_acc", mode="max")
    run.log_config(args={"lr": 1e-3, "epochs": 3})
    for step in range(1, 301):
        run.log({"train_loss": 1 / step, "lr": 1e-3}, stage=f"epoch_{(step - 1) // 100 + 1}")
        if step % 100 == 0:
            run.log({"val_acc": 1 - 1 / step}, step=step)
            run.log_text(f"evaluated at {step}")
    run.summary({"final_note": "baseline complete"})
