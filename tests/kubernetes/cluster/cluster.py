"""The whole cluster: started once for all scenarios, and gone with its namespaces."""

from dataclasses import dataclass

from cluster import control_plane, images, kubelet, runtime
from cluster.places import IMAGE, RUN
from cluster.program import Program


@dataclass
class Cluster:
    kubelet: Program

    @classmethod
    def start(cls) -> "Cluster":
        RUN.mkdir()
        assert IMAGE.exists(), f"{IMAGE} is not there: `make image` writes it"
        control_plane.start()
        runtime.start()
        for archive in (images.pause(RUN), images.client(RUN), IMAGE):
            runtime.add_image(archive)
        return cls(kubelet.start())

    def restart_kubelet(self) -> None:
        self.kubelet.stop()
        self.kubelet.start()
