"""Everything that runs in, or talks to, the writer process.

::

      training process (owner)             detached writer, one per run and host
      -------------------------            -------------------------------------
      run.log()                            main   boot, signals
        | gate, encode, frame              writer loop: beat, read, store, is the owner alive?
        v                                    |
      Queue.push  = one memory copy          v
        |                                  Tail     follows every segment by descriptor
        v           <spool>/*.seg            |
      Segment  ===========================>  v
        ^                                  Plan     which bytes come next, put in place first
        |  each forked, spawned or           |
        |  joined process has a              v
        |  Queue and segments of its own   Store    lines, state -> RunDir: append, replace, fsync
        |                                    |
      Monitor <---  control page  <----------+      heartbeat, closed, done, progress, trouble
      (heartbeat stands still, lock free: start another writer)

The story of one record: ``log()`` encodes it and ``mmap.write`` copies it into the process's segment; from then on
it survives the death of everybody here. Within a tick the writer reads it, puts a plan in place that names its
bytes, appends its line to ``events.jsonl``; the next plan says that the batch is done, and when the segment is
read to its end it is removed. ``finish()`` pushes an ``End``; the writer refuses what starts from then on, drains,
syncs, writes ``status.json``, says ``done`` on the control page, removes the spool and is gone.

Who is alive is asked of the kernel, by locks: the owner holds ``owner.lock``, the writer ``writer.lock``, each
producing process a lock of its own. A process that dies, however, lets go.
"""
