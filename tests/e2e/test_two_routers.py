"""An instance behind one router attacks the floating address of one behind another: who, as the victim saw it."""

from __future__ import annotations

from pathlib import Path

from anetcon.testbed import traffic
from anetcon.testbed.topology import Router, World
from anetcon.testbed.traffic import Server
from tests.support.daemon import QUICK, Daemon


def test_the_instance_behind_the_other_router(world: World, tmp_path: Path) -> None:
    """Asked with the two ends that the victim's own socket had, the answer is the attacker, with the rows of both
    routers; asked of the victim's router alone it is the public address itself, and not nothing."""
    victims, attackers = Router(world, instances=1, floating=[0]), Router(world, instances=2)
    victim, attacker = victims.instances[0], attackers.instances[1]
    names = [victims.name, attackers.name]
    daemon = Daemon(tmp_path, names, QUICK).run()
    try:
        daemon.wait_attached(names)
        with Server(victim.namespace, victim.address, 8081) as server:
            target = (victims.floating_ips[victim.address], 8081)
            made = traffic.tcp(attacker.namespace, attacker.address, target, server)
        daemon.wait_flushed()
        assert (made.nat_src_ip, made.nat_dst_ip) == (attackers.snat, victim.address)
        seen = f"{made.nat_src_ip}:{made.nat_src_port}"
        asked = ("who", seen, "--to", f"{victim.address}:8081", "--at", f"{made.began / 1e6:.6f}")
        answer = daemon.json(*asked)
        assert answer["verdict"] == "one", answer
        rows = [(row["netns"], row["src_ip"], row["src_port"]) for row in answer["connections"]]
        assert rows == [
            (attackers.name, attacker.address, made.src_port),
            (victims.name, made.nat_src_ip, made.nat_src_port),
        ]
        assert answer["same_connection"] == [[0, 1]]
        said = daemon.command(*asked)
        assert f"was {attacker.address}:{made.src_port} in {attackers.name}" in said.stdout.splitlines()[0]
        alone = daemon.json(*asked, "--netns", f"^{victims.name}$")
        assert [row["netns"] for row in alone["connections"]] == [victims.name]
    finally:
        daemon.stop()
