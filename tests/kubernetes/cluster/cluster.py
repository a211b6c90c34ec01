"""The whole cluster: started once for all scenarios, and gone with its namespaces."""

from dataclasses import dataclass

from cluster import control_plane, images, kubelet, runtime
from cluster.places import IMAGE, RUN
from cluster.program import Program


@dataclass
class Cluster:
    programs: list[Program]
    kubelet: Program

    @classmethod
    def start(cls) -> "Cluster":
        RUN.mkdir()
        assert IMAGE.exists(), f"{IMAGE} is not there: `make image` writes it"
        programs = control_plane.start()
        programs.append(runtime.start())
        for archive in (images.pause(RUN), images.client(RUN), IMAGE):
            runtime.add_image(archive)
        return cls(programs, kubelet.start())

    def restart_kubelet(self) -> None:
        self.kubelet.stop()
        self.kubelet.start()

    def tails(self) -> str:
        return "\n\n".join(program.tail() for program in [*self.programs, self.kubelet])
