"""Adapters for training frameworks: one line in a script, the right run, the right end.

================== ===================================================== =======================================
framework          what to write                                         module
================== ===================================================== =======================================
Lightning, Fabric  ``Trainer(logger=RunicornLogger("cv/resnet"))``       ``runicorn.integrations.lightning``
Transformers, TRL  ``Trainer(callbacks=[RunicornCallback()])``, or       ``runicorn.integrations.transformers``
                   ``register()`` and ``report_to="runicorn"``
Accelerate         ``register()`` and ``log_with="runicorn"``            ``runicorn.integrations.accelerate``
Keras 3            ``model.fit(callbacks=[RunicornCallback()])``         ``runicorn.integrations.keras``
XGBoost            ``xgb.train(callbacks=[RunicornCallback()])``         ``runicorn.integrations.xgboost``
LightGBM           ``lgb.train(callbacks=[log_to_runicorn()])``          ``runicorn.integrations.lightgbm``
Optuna             ``study.optimize(callbacks=[RunicornCallback()])``    ``runicorn.integrations.optuna``
Ray Tune           ``RunConfig(callbacks=[RunicornLoggerCallback()])``   ``runicorn.integrations.ray``
Ray Train          ``RunConfig(callbacks=[RunicornUserCallback()])``     ``runicorn.integrations.ray``
Hydra              ``hydra.callbacks.runicorn._target_: ...``            ``runicorn.integrations.hydra``
Ignite             ``RunicornLogger().attach_output_handler(...)``       ``runicorn.integrations.ignite``
TensorBoard        ``SummaryWriter("runs/one")``                         ``runicorn.integrations.tensorboard``
logging            ``"class": "...ActiveRunHandler"``                    ``runicorn.integrations.logging``
================== ===================================================== =======================================

An adapter logs into the run that it was given, else into the run that the program has opened, else into one of its own,
which it also ends. Importing this package imports no framework; each module imports its own.
"""
