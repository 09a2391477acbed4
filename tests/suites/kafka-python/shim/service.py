"""Stands where the sdist lacks `test/service.py`: its fixtures import these two names.

With KAFKA_URI set they only make the first, as a token for a broker that is not theirs.
"""


class ExternalService:
    def __init__(self, host, port):
        self.host, self.port = host, port


class SpawnedService:
    def __init__(self, *_):
        raise RuntimeError("the broker is given by KAFKA_URI; this set-up starts none")
