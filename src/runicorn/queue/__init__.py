"""The queue between the processes that log and the writer: its formats and its directories."""
