"""Switch tracking off for a block: the same code runs, and nothing is stored.

``RUNICORN_ON=0`` does the same for a whole program.
"""

import runicorn as rn

with rn.enabled(False), rn.init(path="debug") as run:
    run.log(loss=0.1)
    run.log_text("nobody reads this")

print("stored:", [info.id for info in rn.runs(path="debug")])
