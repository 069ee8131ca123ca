"""No cleanup at all: ten seconds in which the neighbours have the server to themselves."""
import time

TITLE = "no cleanup"
CHANGES = False


class Nothing:
    backends = []

    def run(self):
        time.sleep(10)


def prepare(rule, database):
    return Nothing()
