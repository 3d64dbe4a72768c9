"""Where the further ranks of a site listen."""

import socket

import pytest

from skep.errors import InputError
from skep.train.listening import beside

HOST = "127.83.1.7"  # no connection of other programs begins here


def test_a_further_rank_listens_on_its_own_port_at_once():
    bases = (20_011, 23_011, 27_011)  # one may be taken by who listens at all addresses
    made = [beside(f"{HOST}:{base}", 3) for base in bases]
    own = {f"{HOST}:{base + 3}" for base in bases}
    assert own & {address for _, address in made}
    for listening, address in made:
        port = int(address.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            socket.create_server((HOST, port))
        with socket.create_connection((HOST, port)):
            pass
        listening.close()


def test_where_the_port_is_taken_or_there_is_none_it_is_another_one():
    with socket.create_server((HOST, 0)) as taken:
        own = taken.getsockname()[1]
        for base in (own - 1, 65_535):
            listening, address = beside(f"{HOST}:{base}", 1)
            with listening:
                assert listening.getsockname()[1] not in (own, base + 1)
                assert address == "{}:{}".format(*listening.getsockname())


def test_an_address_of_another_host_is_refused_with_its_field():
    with pytest.raises(InputError, match=r"listen.*192\.0\.2\.1:7000.*rank 2"):
        beside("192.0.2.1:7000", 2)
